"""An organisation's own authority: the builder believes whom config.ini names, and so does all that it starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.conftest import Builder
from tests.index import serving
from tests.network.certificates import NAME, certified
from tests.sources.forge import Front
from tests.wheelhouse import make_wheel

_HANDLER = "import marks\n\n\ndef handler(event, context):\n    return marks.MARK\n"
_ASK = "python -c \\\"import urllib.request; urllib.request.urlopen('{url}/simple/marks/')\\\""


@contextlib.contextmanager
def variables(builder: Builder, **added: str) -> Iterator[None]:
    """The builder with more variables, for the time of the block."""
    client = builder.client("lambda")
    before = client.get_function(FunctionName=builder.name)["Configuration"]["Environment"]["Variables"]

    def set_to(these: dict[str, str]) -> None:
        client.update_function_configuration(FunctionName=builder.name, Environment={"Variables": these})
        client.get_waiter("function_updated_v2").wait(FunctionName=builder.name, WaiterConfig={"Delay": 0.1})

    set_to({**before, **added})
    try:
        yield
    finally:
        set_to(before)


def test_git_index_and_commands_by_an_authority_of_ones_own(builder: Builder, tmp_path: Path) -> None:
    made = certified(tmp_path)
    (tmp_path / "wheels").mkdir()
    make_wheel(tmp_path / "wheels", "marks", files={"marks.py": "MARK = 7\n"})
    with (
        serving(tmp_path / "wheels") as index,
        Front(lambda path, headers: None, index.url, tls=made.server) as packages,
        Front(lambda path, headers: None, builder.forge.url, tls=made.server) as forge,
    ):
        index.url = packages.url  # what its pages name
        builder.forge.push(
            "certified",
            {
                "build.yaml": f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py]\n"
                "layers:\n  dependencies: [requirements.txt]\n"
                f'  asked:\n    preinstall: ["{_ASK.format(url=packages.url)}"]\n    files: [requirements.txt]\n',
                "app.py": _HANDLER,
                "requirements.txt": "marks\n",
            },
        )
        https = {"LAMBDASMITH_GIT_BASE": forge.url, "LAMBDASMITH_INDEX_URL": f"{packages.url}/simple"}
        with variables(builder, **https):
            refused = builder.build("certified")
        assert refused["error"]["code"] == "untrusted_certificate"
        assert NAME in refused["error"]["message"]
        assert forge.url.removeprefix("https://") in refused["error"]["message"]
        assert "ca_bundle" in refused["error"]["hint"]
        assert refused["error"]["retryable"] is False
        assert not forge.asked, "the token was not sent"
        with variables(builder, **https, LAMBDASMITH_CA_BUNDLE=made.authority.read_text()):
            reply = builder.build("certified")
        assert reply["statusCode"] == 200, reply
        assert builder.invoke("certified") == 7
