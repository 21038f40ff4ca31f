"""Tell by its first lines which data set an annotation file belongs to."""

import re
from itertools import islice
from pathlib import Path

LINES = 3
YOUTUBE = r"[\w-]{11}"
SIGNS: dict[str, str] = {
    "UCF101": r"\w+/v_\w+_g\d\d_c\d\d\.avi(\s+\d+)?",
    "HMDB51": r"\S.*_[fhlu]_[cn]m_np\d+_\w\w_\w{3,4}_\d+\.avi\s+[012]",
    "Kinetics": r"(label,)?youtube_id,time_start,time_end,split.*",
    "AudioSet": rf"index,mid,display_name|# Segments csv.*|{YOUTUBE}_\d+_\d+\.mp4",
    "VGGSound": rf"{YOUTUBE}_\d{{6}}\.\w+,.+|{YOUTUBE},\d+,.+,(train|test)",
    "ESC-50": r"filename,fold,target,category.*",
}


def recognized(file: Path) -> str | None:
    """The set whose annotation file this is, by one of its first lines; None when it is none that is known."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as stream:
            lines = [line.strip() for line in islice(stream, LINES)]
    except OSError:
        return None
    for line in lines:
        for title, sign in SIGNS.items():
            if re.fullmatch(sign, line):
                return title
    return None
