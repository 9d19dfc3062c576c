"""A file as a C array, for programs that have no file system."""

from collections.abc import Iterator
from pathlib import Path

from paring.core import atomic

_A_LINE = 12  # bytes


def write(artifact: Path, arena: int, name: str) -> tuple[Path, Path]:
    """Writes `NAME.h` and `NAME.cc` beside a file, and names them.

    The array is constant, so that it stays in flash, and aligned as the interpreter wants it.

    Args:
        artifact: a `.micro.tflite`.
        arena: bytes of memory that the interpreter needs for it, as `arena.size` finds.
        name: of the files; of the constants likewise, as C can hold it.
    """
    content, known = artifact.read_bytes(), _identifier(name)
    header, source = artifact.with_name(f"{name}.h"), artifact.with_name(f"{name}.cc")
    guard = f"PARING_{known.upper()}_H_"
    with atomic.write(header) as temporary:
        temporary.write_text(
            f"""// {artifact.name}, written by paring.
#ifndef {guard}
#define {guard}

// A .tflite of {len(content)} bytes, for tflite::GetModel.
extern const unsigned char {known}_data[];
extern const unsigned int {known}_size;

// Bytes that tflite::MicroInterpreter needs for it, measured with pointers of 64 bits.
constexpr unsigned int {known}_arena_size = {arena};

#endif  // {guard}
""",
            encoding="utf-8",
        )
    with atomic.write(source) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'// {artifact.name}, written by paring.\n#include "{name}.h"\n\n')
        file.write(f"alignas(16) const unsigned char {known}_data[] = {{\n")
        file.writelines(_lines(content))
        file.write(f"}};\nconst unsigned int {known}_size = {len(content)};\n")
    return header, source


def _lines(content: bytes) -> Iterator[str]:
    for start in range(0, len(content), _A_LINE):
        yield "    " + " ".join(f"0x{byte:02x}," for byte in content[start : start + _A_LINE]) + "\n"


def _identifier(name: str) -> str:
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    return kept if not kept[:1].isdigit() else f"_{kept}"
