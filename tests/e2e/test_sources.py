"""What has no wheel: local directories, private git and sdists, built by the builder function itself."""

from __future__ import annotations

from tests.builder.locking import source_files
from tests.e2e.conftest import TOKEN, Builder


def test_a_local_package_and_a_private_git_dependency(builder: Builder) -> None:
    """Both are built into wheels in the builder; a second build reuses everything; the token is in no reply."""
    builder.forge.push("privately", source_files("privately"))
    files = {f"libs/near/{name}": text for name, text in source_files("near").items()}
    build_file = (
        f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py]\n"
        "layers:\n  dependencies: [requirements.txt]\n"
    )
    builder.forge.push(
        "sourced",
        {
            **files,
            "build.yaml": build_file,
            "requirements.txt": f"-e ./libs/near\nprivately @ git+{builder.forge.url}/privately.git@main\n",
            "app.py": "import near, privately\ndef handler(event, context):\n    return [near.NAME, privately.NAME]\n",
        },
    )
    reply = builder.build("sourced")
    assert reply["statusCode"] == 200, reply
    assert builder.invoke("sourced") == ["near", "privately"]
    assert TOKEN not in str(reply)

    again = builder.build("sourced")
    assert {component["name"]: component["action"] for component in again["artifacts"]} == {
        "dependencies": "reuse",
        "function": "reuse",
    }
    assert again["changed"] == []


def test_upgrade_resolves_anew_and_reuses_what_comes_out_the_same(builder: Builder) -> None:
    """A branch stays at its commit until an upgrade is asked for."""
    builder.forge.push("moving", source_files("moving"))
    build_file = (
        f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py]\n"
        "layers:\n  dependencies: [requirements.txt]\n"
    )
    builder.forge.push(
        "upgraded",
        {
            "build.yaml": build_file,
            "requirements.txt": f"moving @ git+{builder.forge.url}/moving.git@main\n",
            "app.py": "import moving\ndef handler(event, context):\n    return moving.NAME\n",
        },
    )
    assert builder.build("upgraded")["statusCode"] == 200
    builder.forge.push("moving", {"moving.py": "NAME = 'moved'\n"})
    builder.build("upgraded")
    assert builder.invoke("upgraded") == "moving"
    reply = builder.build("upgraded", upgrade=True)
    assert reply["statusCode"] == 200, reply
    assert builder.invoke("upgraded") == "moved"
    assert builder.build("upgraded", upgrade=True)["changed"] == []
