"""Which distribution gives a module, and what it means that another one gives it.

Only the standard library is used here: the builder makes its own first layer with this module.
"""

from __future__ import annotations

import re
import sys

# Of widely used distributions, those whose module is named otherwise. Read off their top-level files.
_DISTRIBUTIONS = {
    "Crypto": "pycryptodome",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "PIL": "pillow",
    "attr": "attrs",
    "aws_lambda_powertools": "aws-lambda-powertools",
    "aws_xray_sdk": "aws-xray-sdk",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "github": "PyGithub",
    "google.protobuf": "protobuf",
    "jose": "python-jose",
    "jwt": "PyJWT",
    "magic": "python-magic",
    "markdown_it": "markdown-it-py",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "pythonjsonlogger": "python-json-logger",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "telegram": "python-telegram-bot",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}


# Widely used distributions whose module has their own name: what somebody who wants to be imported would take.
_OF_THEIR_NAME = frozenset(
    re.findall(
        r"\S+",
        """
        aiobotocore aiohttp anyio asyncpg awswrangler bcrypt boto3 botocore cachetools celery certifi cffi chardet
        charset_normalizer click cryptography cssselect django docutils fastapi filelock flask fsspec greenlet gunicorn
        h11 httpcore httpx idna jinja2 jmespath joblib jsonschema langchain litellm lxml mangum markdown markupsafe
        marshmallow matplotlib msgpack multidict networkx nltk numpy openai orjson packaging pandas paramiko pip polars
        psutil psycopg pyarrow pyasn1 pydantic pydantic_core pygments pymongo pymysql pyparsing pytest pytz redis regex
        requests rich rsa s3fs s3transfer scipy sentry_sdk setuptools shapely simplejson six sniffio soupsieve spacy
        sqlalchemy starlette stripe structlog sympy tenacity tiktoken tokenizers toml torch tqdm transformers
        typing_extensions tzdata ujson urllib3 uvicorn uvloop watchdog websockets werkzeug wheel wrapt xmltodict yarl
        """,
    )
)
# Several give the same module, each in its own right: builds of one project, or its successor.
_ALSO = {
    "Crypto": ("pycrypto",),
    "PIL": ("pillow-simd",),
    "cv2": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "docx": ("docx",),
    "fitz": ("pymupdfb",),
    "jose": ("jose",),
    "jwt": ("jwt",),
    "magic": ("file-magic", "python-magic-bin"),
    "psycopg2": ("psycopg2", "aws-psycopg2"),
    "serial": ("serial",),
    "slugify": ("unicode-slugify", "slugify"),
    "telegram": ("telegram",),
    "torch": ("torch-cpu",),
}
_START_UP = {"sitecustomize", "usercustomize"}


def distribution_of(module: str) -> str:
    """The name to write into requirements for `module` (`a.b` is looked up before `a`)."""
    name = module
    while name:
        if name in _DISTRIBUTIONS:
            return _DISTRIBUTIONS[name]
        name = name.rpartition(".")[0]
    return module.partition(".")[0].replace("_", "-")


def strange(module: str, distribution: str) -> str:
    """What is strange about a top-level module in a wheel of `distribution`; "" if nothing is."""
    own = _normalised(distribution)
    if module in _START_UP:
        return "which Python runs at every start, before the function"
    if module in sys.stdlib_module_names:
        return "which replaces the standard library's"
    owner = module if module in _OF_THEIR_NAME else _DISTRIBUTIONS.get(module, "")
    if not owner or own in {_normalised(owner), _normalised(module), *_ALSO.get(module, ())}:
        return ""
    return f"which is the module of {owner}"


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
