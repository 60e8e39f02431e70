"""Generate clients from the OpenAPI document of a live service, and use them: `python -m tests.e2e.generators.run`.

COUNTONME_URL is the service's address, which `python -m tests.e2e.clients.live` sets. `--quick` runs only the parts in
QUICK. Clients in TypeScript and Python are compiled, and sync with the service. Those in Kotlin, Swift and Dart are
parsed, because their compilers are not in the registries of pip and npm.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

HERE = Path(__file__).resolve().parent
BIN = HERE / ".venv/bin"
BUILD = HERE / "build"
DOCUMENT = BUILD / "openapi.json"
OPENAPI_TYPESCRIPT = HERE / "openapi-typescript"
NODE22 = HERE / "node22"

# What a client in each language must have: a cursor of 64 bits, which is sent.
KOTLIN = {
    "src/main/kotlin/org/openapitools/client/apis/SyncApi.kt": [
        "lastPulledAt: kotlin.Long? = 0L",
        'put("last_pulled_at", listOf(lastPulledAt.toString()))',
    ],
    "src/main/kotlin/org/openapitools/client/models/Pull.kt": ["val timestamp: kotlin.Long,"],
}
SWIFT = {
    "Sources/OpenAPIClient/APIs/SyncAPI.swift": [
        "lastPulledAt: Int64? = nil",
        '"last_pulled_at": (wrappedValue: lastPulledAt?.asParameter(',
    ],
    "Sources/OpenAPIClient/Models/Pull.swift": ["public var timestamp: Int64\n"],
}
DART = {
    "lib/src/api/sync_api.dart": [
        "int? lastPulledAt = 0,",
        "r'last_pulled_at': encodeQueryParameter(_serializers, lastPulledAt, const FullType(int))",
    ],
    "lib/src/model/pull.dart": ["int get timestamp;"],
}


def openapi_typescript() -> None:
    tools = OPENAPI_TYPESCRIPT / "node_modules/.bin"
    for name, options in (("schema", []), ("schema-with-enums", ["--enum"])):
        run([tools / "openapi-typescript", DOCUMENT, "-o", OPENAPI_TYPESCRIPT / f"build/{name}.ts", *options])
    run([tools / "tsc", "--project", OPENAPI_TYPESCRIPT])
    run(["node", OPENAPI_TYPESCRIPT / "build/js/sync.js"])


def openapi_python_client() -> None:
    output = BUILD / "python/countonme_client"
    run([BIN / "openapi-python-client", "generate", "--meta=none", f"--path={DOCUMENT}", f"--output-path={output}"])
    for checked in (["--package=countonme_client"], [HERE / "sync_with_python.py"]):
        run([BIN / "mypy", "--strict", f"--cache-dir={BUILD}/mypy", *checked], cwd=output.parent)
    run([BIN / "python", HERE / "sync_with_python.py"])


def kotlin() -> None:
    output = openapi_generator("kotlin", BUILD)
    parse(output)
    contains(output, KOTLIN)


def swift() -> None:
    output = openapi_generator("swift6", BUILD)
    # The grammar does not know all of the code that is the same for every document, in Infrastructure.
    parse(output / "Sources/OpenAPIClient/APIs", output / "Sources/OpenAPIClient/Models")
    contains(output, SWIFT)


def dart() -> None:
    output = openapi_generator("dart-dio", BUILD)
    parse(output / "lib")
    contains(output, DART)


def typescript_of_node22() -> None:
    """Generate clients with @hey-api/openapi-ts, orval and openapi-generator's typescript-fetch."""
    openapi_generator("typescript-fetch", NODE22 / "build")
    in_node22("openapi-ts", "--input", DOCUMENT, "--output", "build/hey-api", "--silent")
    in_node22("orval", "--config", "orval.config.mjs")
    in_node22("tsc")
    for name in ("hey-api", "orval", "typescript-fetch"):
        run([*node22(), NODE22 / f"build/js/{name}.js"])


def linters() -> None:
    in_node22("redocly", "lint", "--config", "redocly.yaml", DOCUMENT)
    in_node22("spectral", "lint", "--ruleset", "spectral.yaml", "--fail-severity=hint", DOCUMENT)


QUICK = [openapi_typescript, openapi_python_client, kotlin]
SLOW = [swift, dart, typescript_of_node22, linters]


def openapi_generator(language: str, folder: Path) -> Path:
    """Generate a client with openapi-generator, and return its folder."""
    output = folder / language
    # Neither its documentation nor its tests.
    parts = ",".join(f"{kind}{part}=false" for kind in ("api", "model") for part in ("Docs", "Tests"))
    options = ["-i", DOCUMENT, "-g", language, "-o", output, f"--global-property={parts}"]
    run([BIN / "openapi-generator-cli", "generate", *options])
    return output


def parse(*folders: Path) -> None:
    run([BIN / "python", HERE / "parse.py", *folders])


def contains(output: Path, expected: dict[str, list[str]]) -> None:
    """Check that generated files contain these texts."""
    for file, texts in expected.items():
        code = (output / file).read_text()
        for text in texts:
            if text not in code:
                raise Failure(f"{file} does not contain: {text}")


def node22() -> list:
    """Return the command of Node 22. On a machine for which npm has no Node 22, use the installed Node."""
    own = NODE22 / "node_modules/.bin/node"
    return [own] if own.exists() else ["node"]


def in_node22(tool: str, *arguments) -> None:
    run([*node22(), NODE22 / "node_modules/.bin" / tool, *arguments], cwd=NODE22)


class Failure(Exception):
    pass


def run(command: list, cwd: Path = HERE) -> None:
    """Run a command. If it fails, raise Failure with its output."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "OPENAPI_DOCUMENT": str(DOCUMENT)}
    environment["MYPYPATH"] = environment["PYTHONPATH"] = str(BUILD / "python")
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise Failure(f"{' '.join(words)}\n{done.stdout}")


def passes(part: Callable[[], None]) -> bool:
    start = time.monotonic()
    try:
        part()
    except Failure as failure:
        report(f"FAILED {part.__name__}: {failure}")
        return False
    report(f"ok     {part.__name__} ({time.monotonic() - start:.0f} s)")
    return True


def report(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    for folder in (BUILD, OPENAPI_TYPESCRIPT / "build", NODE22 / "build"):
        shutil.rmtree(folder, ignore_errors=True)
    BUILD.mkdir()
    with urlopen(f"{os.environ['COUNTONME_URL']}/schema") as response:
        DOCUMENT.write_bytes(response.read())
    results = [passes(part) for part in (QUICK if "--quick" in arguments else QUICK + SLOW)]
    report(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
