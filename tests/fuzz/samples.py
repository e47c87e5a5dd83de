"""Real inputs, short, each with all that its parser looks at."""

from __future__ import annotations

SHA = "sha256:" + "ab" * 32
HEX = "cd" * 32

REQUIREMENTS = f"""\
# comment
--index-url https://index.example/simple
--extra-index-url=https://index.example/simple/
-c constraints.txt
-r more.txt
--find-links ./wheels
--no-binary :all:
--pre
requests[socks,use_chardet_on_py3]==2.32.3 ; python_version >= "3.9" \\
    --hash={SHA} \\
    --hash=sha512:{"ab" * 64}
urllib3>=1.26,<3  # why
flask @ https://files.example/flask-3.0.0-py3-none-any.whl#sha256={HEX}
git+https://git.example/o/n@main#egg=thing&subdirectory=py
tool @ git+https://git.example/o/tool.git@feature/x
-e ./local[web] ; sys_platform == "linux"
./wheels/a-1.0-py3-none-any.whl
file:local
""".encode()
CONSTRAINTS = b"urllib3<2.3\nidna==3.7\n"
MORE = b"-c constraints.txt\nnumpy~=2.0\n"

PYPROJECT = b"""\
[project]
name = "app"
version = "1.0"
dynamic = ["readme"]
dependencies = ["requests>=2", "tool[x] ; python_version > '3.8'", "lib", "near", "there"]

[project.optional-dependencies]
web = ["flask>=3", "app[db]"]
db = ["psycopg==3.2.1"]

[dependency-groups]
prod = ["gunicorn", {include-group = "base"}]
base = ["idna"]

[tool.uv.sources]
tool = { git = "https://git.example/o/tool", rev = "abc", subdirectory = "py" }
lib = { url = "https://files.example/lib-1.0.tar.gz" }
near = { path = "local" }
there = { git = "https://git.example/o/there", branch = "main" }
"""

POETRY = f"""\
[[package]]
name = "requests"
version = "2.32.3"
description = ""
optional = false
python-versions = ">=3.8"
groups = ["main"]
markers = "python_version >= '3.8'"
files = [
    {{file = "requests-2.32.3-py3-none-any.whl", hash = "{SHA}"}},
    {{file = "requests-2.32.3.tar.gz", hash = "{SHA}"}},
]

[package.dependencies]
idna = ">=2.5"

[[package]]
name = "psycopg"
version = "3.2.1"
optional = true
groups = ["main", "dev"]
markers = {{main = "extra == \\"db\\"", dev = "python_version > '3.9'"}}
files = [{{file = "psycopg.whl", hash = "{SHA}"}}]

[[package]]
name = "tool"
version = "1.0"
groups = ["main"]
files = []

[package.source]
type = "git"
url = "https://git.example/o/tool.git"
reference = "main"
resolved_reference = "0123456789abcdef0123456789abcdef01234567"
subdirectory = "py"

[[package]]
name = "local"
version = "1.0"
category = "main"

[package.source]
type = "directory"
url = "local"

[[package]]
name = "far"
version = "1.0"

[package.source]
type = "url"
url = "https://files.example/far-1.0.tar.gz"

[extras]
db = ["psycopg (>=3)"]

[metadata]
lock-version = "2.1"
content-hash = "x"

[metadata.files]
far = [{{file = "far.whl", hash = "{SHA}"}}]
""".encode()

PIPFILE = (
    f"""\
{{"_meta": {{"hash": {{"sha256": "x"}}, "pipfile-spec": 6, "requires": {{}}, "sources": []}},
"default": {{
 "requests": {{"hashes": ["{SHA}"], "version": "==2.32.3", "markers": "python_version >= '3.8'", "extras": ["socks"]}},
 "tool": {{"git": "https://git.example/o/tool.git", "ref": "0123456789abcdef", "subdirectory": "py"}},
 "local": {{"path": "./local", "editable": true}},
 "far": {{"file": "https://files.example/far-1.0.tar.gz", "hashes": ["{SHA}"]}}}},
"develop": {{"pytest": {{"hashes": ["{SHA}"], "version": "==8"}}}}}}
"""
).encode()

PYLOCK = f"""\
lock-version = "1.0"
created-by = "test"
requires-python = ">=3.11"
environments = ["sys_platform == 'linux'"]
extras = ["web"]
dependency-groups = ["prod"]
default-groups = []

[[packages]]
name = "requests"
version = "2.32.3"
marker = "python_version >= '3.9'"
requires-python = ">=3.8"
index = "https://index.example/simple"

[[packages.wheels]]
name = "requests-2.32.3-py3-none-any.whl"
url = "https://files.example/requests-2.32.3-py3-none-any.whl"
size = 64928
upload-time = 2024-05-29T15:37:47Z
hashes = {{sha256 = "{HEX}"}}

[packages.sdist]
name = "requests-2.32.3.tar.gz"
url = "https://files.example/requests-2.32.3.tar.gz"
hashes = {{sha256 = "{HEX}"}}

[[packages]]
name = "tool"
version = "1.0"

[packages.vcs]
type = "git"
url = "https://git.example/o/tool"
requested-revision = "main"
commit-id = "0123456789abcdef0123456789abcdef01234567"
subdirectory = "py"

[[packages]]
name = "near"
directory = {{path = "local", editable = false}}

[[packages]]
name = "whl"
version = "1.0"
archive = {{path = "wheels/a-1.0-py3-none-any.whl", hashes = {{sha256 = "{HEX}"}}}}

[[packages]]
name = "src"
version = "1.0"
sdist = {{url = "https://files.example/src-1.0.tar.gz", hashes = {{sha256 = "{HEX}"}}}}
""".encode()

# Little but addresses: a change of a value is one of these.
PYLOCK_URLS = f"""\
lock-version = "1.0"
created-by = "test"

[[packages]]
name = "a"
index = "https://a.example"
archive = {{url = "https://a.example/a-1.tar.gz", hashes = {{sha256 = "{HEX}"}}}}

[[packages]]
name = "b"
vcs = {{type = "git", url = "https://b.example/b", commit-id = "{HEX[:40]}"}}
""".encode()

UV = f"""\
version = 1
requires-python = ">=3.11"

[[package]]
name = "app"
version = "1.0"
source = {{ virtual = "." }}
dependencies = [
    {{ name = "near" }},
]

[[package]]
name = "near"
version = "1.0"
source = {{ directory = "local" }}

[[package]]
name = "requests"
version = "2.32.3"
source = {{ registry = "https://index.example/simple" }}
wheels = [
    {{ url = "https://files.example/requests-2.32.3-py3-none-any.whl", hash = "{SHA}", size = 1 }},
]
""".encode()

PACKAGE_JSON = b"""\
{"name": "app", "version": "1.0.0", "type": "module", "workspaces": ["lib"],
 "dependencies": {"left": "^1.0.0", "@corp/thing": "1", "lib": "*"}, "devDependencies": {"esbuild": "0.25.0"}}
"""
PACKAGE_LOCK = b"""\
{"name": "app", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": {
 "": {"name": "app", "version": "1.0.0", "workspaces": ["lib"], "dependencies": {"left": "^1.0.0", "@corp/thing": "1"}},
 "lib": {"name": "lib", "version": "1.0.0", "dependencies": {"left": "1"}},
 "node_modules/lib": {"resolved": "lib", "link": true},
 "node_modules/left": {"version": "1.2.0", "resolved": "https://registry.example/left/-/left-1.2.0.tgz",
   "integrity": "sha512-abc= sha1-x", "license": "MIT", "engines": {"node": ">=18"},
   "dependencies": {"right": "1"}, "optionalDependencies": {"@corp/native": "*"}, "peerDependencies": {"lib": "1"}},
 "node_modules/left/node_modules/right": {"version": "1.0.0", "resolved": "https://registry.example/right/-/r.tgz"},
 "node_modules/@corp/thing": {"name": "@corp/other", "version": "1.0.0", "resolved": "https://npm.example/t.tgz"},
 "node_modules/local": {"version": "1.0.0", "resolved": "file:lib"},
 "node_modules/esbuild": {"version": "0.25.0", "dev": true, "hasInstallScript": true, "bin": {"esbuild": "x"}}}}
"""
NPMRC = b"""\
registry=https://npm.example/
@corp:registry = "https://npm.example/corp/"
//npm.example/:_authToken=${TOKEN}
"""
NPM_PAGE = b"""\
{"name": "left", "dist-tags": {"latest": "1.2.0"}, "versions": {"1.2.0": {"name": "left", "version": "1.2.0",
 "dist": {"tarball": "https://npm.example/left/-/left-1.2.0.tgz", "shasum": "x", "integrity": "sha512-abc="}},
 "1.1.0": {"name": "left", "dist": {"tarball": "left-1.1.0.tgz"}}}}
"""
METAFILE = b"""\
{"inputs": {"../src/app.ts": {"bytes": 10, "imports": [{"path": "node_modules/left/i.js", "kind": "import-statement"}]},
 "node_modules/left/i.js": {"bytes": 5, "imports": []}},
 "outputs": {"../bundle/app.mjs": {"imports": [], "exports": ["handler", "other"], "entryPoint": "src/app.ts",
 "inputs": {"src/app.ts": {"bytesInOutput": 9}, "node_modules/left/i.js": {"bytesInOutput": 5}}, "bytes": 14}}}
"""

INDEX_JSON = f"""\
{{"meta": {{"api-version": "1.1"}}, "name": "requests", "versions": ["2.32.3"], "files": [
 {{"filename": "requests-2.32.3-py3-none-any.whl", "url": "../../f/requests-2.32.3-py3-none-any.whl",
  "hashes": {{"sha256": "{HEX}"}}, "requires-python": ">=3.8", "yanked": false, "size": 1,
  "core-metadata": {{"sha256": "{HEX}"}}}},
 {{"filename": "requests-2.32.3.tar.gz", "url": "https://files.example/requests-2.32.3.tar.gz", "hashes": {{}},
  "yanked": "broken", "dist-info-metadata": true}}]}}
""".encode()
INDEX_HTML = f"""\
<!DOCTYPE html><html><head><base href="https://files.example/f/"><title>requests</title></head><body>
<a href="requests-2.32.3-py3-none-any.whl#sha256={HEX}" data-requires-python="&gt;=3.8"
 data-core-metadata="sha256={HEX}">requests</a><br/>
<a href="/f/requests-2.32.3.tar.gz" data-yanked="">requests-2.32.3.tar.gz</a>
<a href="https://other.example/requests-1.0.tar.gz">x</a></body></html>
""".encode()
GO_IMPORTS = b"""\
<html><head><meta name="go-import" content="go.example/mod git https://git.example/o/mod">
<meta name="go-source" content="go.example/mod x"><meta content="go.example mod https://proxy.example" name=go-import>
</head><body></body></html>
"""
GO_MOD = b"// a\nmodule go.example/o/mod/v2 // x\n\ngo 1.24\n\nrequire (\n\tgithub.com/a/b v1.2.3\n)\n"
GO_PATH = b"go.example/o/mod/v2 v2.1.0-pre.1+incompatible"

BUILD_YAML = b"""\
# a build file
function:
  runtimes: &r [python3.13, python3.12]
  handler: lambda_function.lambda_handler
  files: [lambda_function.py, "templates/*"]
  exclude: ['*.md']
  memory: 256
  timeout: 30
  architecture: arm64
  environment: {STAGE: prod, NUMBER: "1"}
  tags: {team: a}
  ephemeral_storage: 512
  url: {auth: none, cors: {AllowOrigins: ["*"]}}
  log_retention: 14
  native_libraries: auto
  configuration:
    VpcConfig: {SubnetIds: [subnet-0a1b2c3d], SecurityGroupIds: [sg-0a1b2c3d]}
    ReservedConcurrentExecutions: 20
layers:
  dependencies: [requirements.txt, "pyproject.toml[web]"]
  data:
    runtimes: *r
    preinstall:
      - python make.py
      - |
        make all
    files: [data/]
    dest_dir: data
    secrets: [{env: TOKEN, from: "secretsmanager:team/token#t"}, {file: ~/.netrc, from: "ssm:/team/netrc"}]
  other: arn:aws:lambda:eu-central-1:123456789012:layer:other:3
prune: {disable: [tests], keep: ["a/**"]}
bytecode: true
runtime_packages: use
try: import
keep: 5
"""
BUILD_JSON = b"""\
{"function": {"runtimes": ["nodejs22.x"], "handler": "app.handler", "files": ["src/"], "memory": 128,
 "build": {"node": {"bundle": "src/app.ts", "external": ["left", "@corp/*"], "minify": true}},
 "environment": {"NAME": "\\u00e9"}}, "layers": {"dependencies": ["package-lock.json"],
 "tool": {"runtimes": ["nodejs22.x"], "build": {"command": ["make"], "output": "out", "inputs": ["src"]}}},
 "optional_libraries": ["libfoo.so.1"], "keep": 3}
"""
EVENT = b"""\
{"action": "build", "function": "shop", "repo": "https://git.example/o/n", "branch": "main", "path": "svc",
 "build_file": "build.yaml", "components": ["function", "dependencies"], "force": true, "alias": {"name": "live",
 "weight": 0.5}, "invoke": {"a": 1}, "build_id": "b-1", "by": "me", "on_error": "reply", "reply": ["function"],
 "tf": {"action": "create", "prev_input": {}}}
"""
EVENT_SOURCE = b"""\
{"action": "package", "function": "shop", "source": {"bucket": "sources-1", "key": "a/b.zip", "version_id": "v1"},
 "upgrade": false}
"""
EVENT_ARCHIVE = b'{"name": "shop", "architecture": "arm64", "archive": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}'
STACK = b"""\
{"RequestType": "Update", "ResponseURL": "https://cloudformation-custom-resource-response-eucentral1.s3.amazonaws.com/a?b=c",
 "StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/shop/u-u-i-d", "RequestId": "u-1",
 "ResourceType": "Custom::Code", "LogicalResourceId": "Code", "PhysicalResourceId": "shop",
 "ResourceProperties": {"ServiceToken": "arn:x", "ServiceTimeout": "600", "Action": "build", "Function": "shop",
  "Repo": "https://git.example/o/n", "Branch": "main", "Alias": {"Name": "live", "Weight": "0.5"},
  "Invoke": "{\\"a\\": 1}", "Components": ["function"], "Trigger": "1"},
 "OldResourceProperties": {"ServiceToken": "arn:x", "Function": "shop", "RepoName": "n"},
 "LambdasmithAttempt": {"number": 2, "until": 1800000000.5}}
"""
CONFIG = b"""\
; the builder
[aws]
aws_profile = team
aws_region = eu-central-1
deployment_bucket = store-1
[github]
git_username = me
git_token = "abc"
git_base = https://git.example/o
git_hosts = git.example, gitlab.com
[builder]
function_name = lambdasmith
runtime = python3.13
architecture = arm64
memory = 2048
timeout = 900
ephemeral_storage = 4096
isolation = shared
functions = shop-*, api
tag = team=a
status = all
go_proxy = https://go.example,direct
npm_registry = https://npm.example/ @corp=https://npm.example/corp
[deploy]
function = shop
version = no
[git github.com/corp]
app_id = 1
installation_id = 2
private_key = secretsmanager:team/key
[index corp]
url = https://index.example/simple
username = me
password = secretsmanager:team/index#password
only = corp-*
[project github.com/team-a/*]
allow = secretsmanager:team-a/*
refs = main, release/*
[toolchain rust]
url = https://files.example/t.tar.xz
sha256 = abababababababababababababababababababababababababababababababab
strip = 1
path = bin, sbin
"""
TOOLCHAINS = f"""\
[{{"name": "tool", "url": "https://files.example/t.tar.xz", "sha256": "{HEX}", "strip": 1, "path": ["bin"]}}]
""".encode()
LOGINS = b"""\
{"git": [{"base": "https://git.example", "token": "secretsmanager:a/b", "modules": "go.example"}],
 "indexes": [{"name": "corp", "url": "https://index.example/simple", "password": "ssm:/a/b", "only": "corp-*"}],
 "projects": [{"pattern": "github.com/team-a/*", "allow": ["ssm:/a/*"], "refs": ["main"]}]}
"""
GITMODULES = b"""\
[submodule "lib"]
\tpath = vendor/lib
\turl = ../lib.git
[submodule "other"]
\tpath = vendor/other
\turl = https://git.example/o/other
\tupdate = none
[submodule "third"]
\tpath = third
\turl = git@git.example:o/third.git
"""
GITATTRIBUTES = b'*.txt text eol=crlf\n*.bin binary\n/a/** filter=lfs -text\n[attr]mine text\n"a b" !text\n'
LFS_POINTER = ("version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 12\n").encode()
LFS_ANSWER = (
    '{"transfer": "basic", "objects": [{"oid": "' + "ab" * 32 + '", "size": 12, "authenticated": true, "actions": '
    '{"download": {"href": "http://127.0.0.1:9/x", "header": {"Authorization": "x"}, "expires_in": 10}}}, '
    '{"oid": "' + "cd" * 32 + '", "size": 1, "error": {"code": 404, "message": "no"}}]}'
).encode()
MANIFEST = f"""\
{{"files": {{"app.py": "{HEX}", "bin/run": "{HEX}"}}, "executable": ["bin/run"]}}
""".encode()
IGNORE = b"*.md\n!README.md\n/build/\n**/x/[a-c]?\n# c\n"
ENTRY_POINTS = b"[console_scripts]\nrun = pkg.mod:main [extra]\nother=pkg:a.b\n\n[gui_scripts]\ng = pkg:g\n"
METADATA = b"""\
Metadata-Version: 2.4
Name: pkg
Version: 1.0
Requires-Dist: idna>=2 ; python_version > "3.8"
Requires-Dist: web[x] @ https://files.example/web.whl ; extra == "web"
Provides-Extra: web
Description-Content-Type: text/markdown

Requires-Dist: not this
"""
MODULE = b"""\
import os, json as j
from . import b
from .c import d
from pkg.data import *
__all__ = ["x"]
def __getattr__(name): return importlib.import_module("pkg.lazy." + name)
lazy = {"y": "pkg.y", "z": ".z"}
path = os.path.join(os.path.dirname(__file__), "data.json")
f"{x!r:>{w}}"; 1_000; 0x1f; 1e5; b"\\x00"; lambda *a, **k: (yield)
"""
NPM_WORDS = (
    b"""\
npm error code EINTEGRITY
npm error sha512-abc= integrity checksum failed when using sha512: wanted sha512-abc= but got sha512-def=. (5 bytes)
npm error A complete log of this run can be found in: /tmp/x
""",
    b"""\
npm error code 1
npm error path /tmp/x/node_modules/left
npm error command failed
npm error command sh -c node install.js
npm error code ENOENT spawn git
""",
    b"""\
npm error code EUSAGE
npm error `npm ci` can only install packages when your package.json and package-lock.json are in sync.
npm error Missing: left@1.0.0 from lock file
npm error Clean install a project
""",
    b"""\
npm error code ERESOLVE
npm error ERESOLVE unable to resolve dependency tree
npm error Could not resolve dependency: left
npm warn Unknown env config "x"
npm error code E404 https://registry.example/left - Not found
""",
)
COMMIT = (
    b"tree 0123456789abcdef0123456789abcdef01234567\nparent 0123456789abcdef0123456789abcdef01234567\n"
    b"author A <a@b> 1700000000 +0100\ncommitter A <a@b> 1700000000 -0230\ngpgsig x\n y\n\nmessage\n"
)


def _line(text: str) -> bytes:
    """A pkt-line: https://git-scm.com/docs/gitprotocol-common"""
    return f"{len(text) + 5:04x}{text}\n".encode()


_COMMIT = "0123456789abcdef0123456789abcdef01234567"
REFS = b"".join(
    (
        _line("# service=git-upload-pack"),
        b"0000",
        _line(f"{_COMMIT} HEAD\0side-band-64k ofs-delta symref=HEAD:refs/heads/main object-format=sha1 agent=x"),
        _line(f"{_COMMIT} refs/heads/main"),
        _line(f"{_COMMIT} refs/tags/v1.0"),
        _line(f"{_COMMIT} refs/tags/v1.0^{{}}"),
        b"0000",
    )
)
