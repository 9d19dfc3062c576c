"""What each platform's bundle is made of. A new platform: a line here, and a folder in `templates/`."""

from dataclasses import dataclass

from paring.core.errors import UnknownName


@dataclass(frozen=True)
class Platform:
    """Where an app of one kind runs.

    Attributes:
        name: as on the command line.
        targets: whose files its code can run.
        artifacts: folder of these files in the bundle.
        golden: folder of the golden samples.
        code: what the integration code is, for the bundle's README.
    """

    name: str
    targets: tuple[str, ...]
    artifacts: str
    golden: str
    code: str


PLATFORMS = {
    one.name: one
    for one in (
        Platform("android", ("litert", "executorch"), "artifacts", "golden", "a Gradle module in Kotlin"),
        # a Swift package and a pod take resources from inside their targets' folders only
        Platform("ios", ("litert", "coreml"), "ios/Sources/Model", "ios/Tests/golden", "a Swift package and a pod"),
        Platform("linux", ("litert", "onnxruntime"), "artifacts", "golden", "a CMake project in C++"),
        Platform(
            "python", ("litert", "executorch", "onnxruntime", "openvino"), "artifacts", "golden", "one Python file"
        ),
    )
}


def platform(name: str) -> Platform:
    """The platform called `name`.

    Raises:
        UnknownName: there is none; the remedy gives the nearest.
    """
    if name not in PLATFORMS:
        raise UnknownName.of("platform", name, PLATFORMS)
    return PLATFORMS[name]
