"""Attention maps of chosen clips as numbers, pictures and film; scored where the truth is known (METHOD 8, Fig. 5)."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from cmac_core.data.dataset import PackedDataset
from cmac_core.data.manifest import Clip
from cmac_core.evaluation.attention_files import Press
from cmac_core.evaluation.attention_maps import KEYS, Key, correlation
from cmac_core.evaluation.attention_subject import AttentionSubject, attention_subject
from cmac_core.evaluation.localization import GRID, Map
from cmac_core.evaluation.localization_scores import SCORED_FRAMES, Tally
from cmac_core.evaluation.material import open_material
from cmac_core.evaluation.scoring import Referee, batches, score
from cmac_core.events import Result, Value
from cmac_core.specs import Attention
from cmac_core.specs.references import DATASET
from cmac_core.training.errors import UserError
from cmac_core.training.run import Run

Pairs = list[tuple[float, float]]


def run(spec: Attention, run: Run) -> None:
    """Publish maps of the chosen clips, then score all maps and their controls on the clips with known truth."""
    dataset = open_material(run, run.input(DATASET), spec.where, ["video", "audio"])
    chosen = choose(dataset, spec.clips) if spec.clips else spread(dataset.clips, spec.limit)
    known = spread([clip for clip in dataset.clips if clip.id in dataset.truth], spec.score_limit)
    who = attention_subject(run, spec, dataset)
    values = _publish(run, spec, dataset, chosen, who)
    if known:
        values += score(run, dataset, known, who, spec.batch, spec.seed)
    protocol = _protocol(spec, who, len(chosen), len(known))
    run.emit(Result(values=tuple(values), protocol=protocol, lineage=who.lineage))


def choose(dataset: PackedDataset, ids: Sequence[str]) -> list[Clip]:
    """The clips with these ids, each once. Raises UserError naming unknown ones, and ids like them."""
    by_id = {clip.id: clip for clip in dataset.clips}
    unknown = [name for name in ids if name not in by_id]
    if unknown:
        near = [match for name in unknown[:5] for match in difflib.get_close_matches(name, by_id, n=2)]
        hint = f"Did you mean {', '.join(dict.fromkeys(near))}?" if near else f"Ids look like {next(iter(by_id))}."
        raise UserError(f"clips: the dataset has no clip with picture and sound named {', '.join(unknown[:5])}", hint)
    return [by_id[name] for name in dict.fromkeys(ids)]


def spread(clips: Sequence[Clip], limit: int) -> list[Clip]:
    """At most `limit` clips, evenly from first to last."""
    at = np.linspace(0, len(clips) - 1, min(limit, len(clips))).round().astype(int)
    return [clips[i] for i in at]


def _publish(
    run: Run, spec: Attention, dataset: PackedDataset, chosen: Sequence[Clip], who: AttentionSubject
) -> list[Value]:
    """Files of each clip. What is said of these few clips: how far ŝ goes with s, in ours and untrained."""
    press = Press(run, dataset, who.prepare.showing, who.pretrain.audio)
    referee = Referee(who.pretrain.audio, spec.geometry.crop)
    agreement: dict[Literal["video", "audio"], Pairs] = {"video": [], "audio": []}
    done = 0
    run.progress("maps", done, len(chosen), "clips")
    for windows, shown in batches(dataset, chosen, who.prepare, spec.batch):
        ours, random = (attender.maps(attender.sees(shown)) for attender in (who.ours, who.random))
        for i, attended in enumerate(windows):
            run.leave_if_asked()
            assert shown.spectrogram is not None
            spectrogram = shown.spectrogram[i, 0]
            named = {"/".join(key): given for key, given in ours[i].items()}
            scores = referee.judge(Tally(), attended, spectrogram.shape[-1], named)
            press.publish(done, replace(attended, maps=ours[i]), spectrogram.double().cpu().numpy(), scores)
            for modality, pairs in agreement.items():
                pairs += _agreement(ours[i], random[i], modality)
            done += 1
            run.progress("maps", done, len(chosen), "clips")
    return [_correlation(modality, pairs) for modality, pairs in agreement.items() if pairs]


def _agreement(ours: Mapping[Key, Map], random: Mapping[Key, Map], modality: Literal["video", "audio"]) -> Pairs:
    """Correlation over cells of s and ŝ, ours and untrained; nothing without ŝ."""
    keys: tuple[Key, Key] = ((modality, "s"), (modality, "s_hat"))
    if keys[1] not in ours:
        return []
    own, other = (correlation(*(of[key].cells for key in keys)) for of in (ours, random))
    return [(own, other)]


def _correlation(modality: Literal["video", "audio"], pairs: Pairs) -> Value:
    own, other = (float(np.mean(column)) for column in zip(*pairs, strict=True))
    return Value(
        name="correlation_s_s_hat",
        value=own,
        unit="r",
        n=len(pairs),
        modality=modality,
        random_init=other,
        chance=0.0,
    )


def _protocol(spec: Attention, who: AttentionSubject, chosen: int, scored: int) -> dict[str, Any]:
    maps = sorted("/".join(key) for key in KEYS if key[1] == "s" or who.pretrain.loss.lambda_ac > 0)
    protocol: dict[str, Any] = {
        "metric": "maps" if not scored else "pointing game and IoU",
        **spec.geometry.model_dump(),
        "seconds": spec.geometry.frames / spec.geometry.fps,
        "window": "the middle one of each clip",
        "where": spec.where,
        "maps": maps,
        "cells": "stand at the middle of what they see (of their receptive field); maps are linear between",
        "clips_shown": chosen,
        "clips_scored": scored,
        "random_init": f"the same model as initialized with seed {spec.seed}",
        "correlation": "Pearson over the cells of s and ŝ, mean over the clips shown",
    }
    return protocol | (SCORING if scored else {})


SCORING = {
    "pointing": f"video: share of {SCORED_FRAMES} frames whose peak lies in the box; audio: whether it lies in the "
    "time and in the band, widened by half a cell of the map; mean over clips that sound in the window",
    "pointing_frequency": "peak in the widened band at any time",
    "peak": "the highest cell's place, between cells by the parabola through it and its neighbors along each axis",
    "iou": f"the map's highest cells, as many as the target has, against the target; video on {GRID} x {GRID} points",
    "on_silent_moving": "as pointing, in boxes of silent objects that move, where they do not cover the sounding one",
    "on_silent_resting": "the same for silent objects at rest",
    "control motion": "change between frames in place of a map",
    "control energy": "log energy in place of a map",
    "control s_other_sound": "guidance by the sound of another clip, of another class",
    "control s_other_picture": "guidance by the picture of another clip, of another class",
    "control s_hat_untrained_head": "freshly initialized saliency heads on the evaluated encoders",
    "chance": "the share of cells in the target (pointing); a / (2 - a) of its share a of the grid (IoU)",
}
