"""The npm package as applications get it: what the archive holds, and that each common tool can load it."""

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.export.toolchains import STRICTEST, Node
from tests.server.hub_server import HubServer

from tidings.version import __version__

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SOURCE = ROOT / "clients" / "typescript"
EXAMPLE = ROOT / "examples" / "browser" / "react"
PRINTED = "nightly true"
"""What each program prints of the hub's one operation."""

pytestmark = pytest.mark.timeout(900)  # the first test installs the tools


@pytest.fixture(scope="module")
def node() -> Node:
    found = Node(HERE)
    found.install()
    return found


@pytest.fixture(scope="module")
def archive(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of `npm pack`, built from the sources in a copy of the package's folder."""
    root = tmp_path_factory.mktemp("package")
    folder = root / "clients" / "typescript"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "tests"))
    shutil.copy(ROOT / "tsconfig.base.json", root)
    (root / "node_modules").symlink_to(HERE / "node_modules")
    node.run(HERE / "node_modules" / "typescript" / "lib" / "tsc.js", "-p", "tsconfig.build.json", folder=folder)
    node.run(node.npm, "pack", "--silent", folder=folder)
    return folder / f"tidings-{__version__}.tgz"


@pytest.fixture(scope="module")
def project(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An application that has the package and the tools."""
    folder = tmp_path_factory.mktemp("application")
    shutil.copytree(HERE / "consumers", folder, dirs_exist_ok=True)
    (folder / "package.json").write_text('{"name": "application", "private": true, "type": "module"}')
    modules = folder / "node_modules"
    modules.mkdir()
    for entry in (HERE / "node_modules").iterdir():
        if not entry.name.startswith("."):
            (modules / entry.name).symlink_to(entry)
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (folder / "package").rename(modules / "tidings")
    return folder


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with HubServer() as server:
        server.publish({"type": "operation:start", "data": {"operation_id": "a", "name": "nightly"}})
        yield server.http


def bin_of(name: str) -> Path:
    """Return the script of an installed tool."""
    package = json.loads((HERE / "node_modules" / name / "package.json").read_text())
    scripts = package["bin"]
    script = scripts if isinstance(scripts, str) else scripts.get(name.split("/")[-1], next(iter(scripts.values())))
    return HERE / "node_modules" / name / str(script)


# The archive.


def test_archive_holds_modules_with_their_types_and_nothing_else(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        names = {name.removeprefix("package/") for name in opened.getnames()}
    assert names - {name for name in names if name.startswith("dist/")} == {"LICENSE", "README.md", "package.json"}
    sources = {path.relative_to(SOURCE / "src").with_suffix("") for path in (SOURCE / "src").rglob("*.ts")}
    shipped = {path for path in sources if str(path) != "elements/served"}  # only hubs serve that
    assert {name for name in names if name.startswith("dist/")} == {
        f"dist/{path}{extension}" for path in shipped for extension in (".js", ".d.ts")
    }


def test_package_has_the_version_and_the_license_of_the_hub() -> None:
    package = json.loads((SOURCE / "package.json").read_text())
    assert package["version"] == __version__
    assert package.get("dependencies", {}) == {}
    assert (SOURCE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_checkers_of_packages_find_nothing(node: Node, archive: Path) -> None:
    done = node.run(bin_of("publint"), "run", archive, "--strict", check=False)
    assert done.returncode == 0, done.stdout
    done = node.run(bin_of("@arethetypeswrong/cli"), archive, "--profile", "esm-only", "--no-emoji", check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("resolution", ["nodenext", "bundler"])
def test_types_fit_strict_programs(node: Node, project: Path, resolution: str) -> None:
    options = {
        **STRICTEST,
        "lib": ["es2023", "dom", "dom.iterable", "dom.asynciterable"],
        "jsx": "react-jsx",
        "module": "nodenext" if resolution == "nodenext" else "esnext",
        "moduleResolution": resolution,
        "isolatedDeclarations": False,
        "noEmit": True,
    }
    done = node.compile(project, project / "types.tsx", options=options, check=False)
    assert done.returncode == 0, done.stdout


def test_types_fit_the_example_with_react(node: Node, project: Path) -> None:
    shutil.copytree(EXAMPLE, project / "example", ignore=shutil.ignore_patterns("node_modules", "dist"))
    tsc = HERE / "node_modules" / "typescript" / "lib" / "tsc.js"
    done = node.run(tsc, "-p", project / "example", check=False)
    assert done.returncode == 0, done.stdout


# Programs.


@pytest.mark.parametrize("program", ["esm.mjs", "commonjs.cjs", "worker.mjs"])
def test_node_loads_the_package(node: Node, project: Path, hub: str, program: str) -> None:
    assert node.run(project / program, hub, folder=project).stdout.strip() == PRINTED


BUNDLERS = {
    "esbuild": """
        import { build } from "esbuild";
        const options = { bundle: true, format: "esm", platform: "node" };
        await build({ ...options, entryPoints: ["esm.mjs"], outfile: "out/esbuild.mjs" });
    """,
    "vite": """
        import { build } from "vite";
        const rollupOptions = { output: { entryFileNames: "vite.mjs" } };
        await build({
          configFile: false, logLevel: "error", ssr: { noExternal: true },
          build: { ssr: "esm.mjs", outDir: "out", emptyOutDir: false, rollupOptions },
        });
    """,
    "webpack": """
        import webpack from "webpack";
        const output = { path: process.cwd() + "/out", filename: "webpack.mjs", module: true, chunkFormat: "module" };
        const experiments = { outputModule: true };
        const options = { entry: "./esm.mjs", mode: "production", target: "node22", experiments, output };
        const stats = await new Promise((resolve, reject) =>
          webpack(options, (error, done) => (error ? reject(error) : resolve(done))));
        if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString());
    """,
}


@pytest.mark.parametrize("bundler", BUNDLERS)
def test_bundle_runs(node: Node, project: Path, hub: str, bundler: str) -> None:
    script = project / f"bundle-{bundler}.mjs"
    script.write_text(BUNDLERS[bundler])
    node.run(script, folder=project)
    assert node.run(project / "out" / f"{bundler}.mjs", hub, folder=project).stdout.strip() == PRINTED


def test_jest_loads_the_package(node: Node, project: Path, hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_URL", hub)
    monkeypatch.setenv("NODE_OPTIONS", "--experimental-vm-modules --no-warnings")
    config = {
        "testMatch": ["**/jest.test.mjs"],
        "transform": {},
        "testEnvironment": "node",
    }
    done = node.run(bin_of("jest"), "--config", json.dumps(config), folder=project, check=False)
    assert done.returncode == 0, done.stderr


def test_next_renders_the_hooks_on_its_server(node: Node, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXT_TELEMETRY_DISABLED", "1")
    folder = project / "next"
    (folder / "package.json").write_text('{"name": "site", "private": true, "type": "module"}')
    (folder / "node_modules").symlink_to(project / "node_modules")
    done = node.run(bin_of("next"), "build", "--webpack", folder=folder, timeout_s=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (folder / ".next" / "server" / "app" / "index.html").read_text()
    assert "<p>loading 0 connecting</p>" in page
