"""The front end that a spec asks for: from sound to the picture that the audio encoder looks at (METHOD 2)."""

from typing import assert_never

from cmac_core.data.log_filterbank import GDT_SCALE, LogFilterbank
from cmac_core.data.log_mel import LogMel
from cmac_core.specs.clips import AudioFrontEnd

FrontEnd = LogMel | LogFilterbank


def build_front_end(spec: AudioFrontEnd) -> FrontEnd:
    """Waveforms (B, S) to pictures (B, 1, n_mels, T)."""
    match spec.frontend:
        case "mel":
            return LogMel(spec)
        case "gdt":
            return LogFilterbank(spec)
        case _:
            assert_never(spec.frontend)


def fixed_scale(spec: AudioFrontEnd) -> tuple[float, float] | None:
    """Mean and deviation that belong to a front end; None for the one that is normalised by its dataset's."""
    return GDT_SCALE if spec.frontend == "gdt" else None
