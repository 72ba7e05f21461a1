r"""Teach a student its teacher's order.

Candidates are, for each history, the top of the teacher's list and random items, as in
ranking distillation (Tang & Wang, KDD 2018; Kang et al., "DE-RRD", CIKM 2020), for the
scores of the whole catalogue are mostly about what nobody is shown. The loss mixes

    alpha · T² H(softmax(z_teacher / T), softmax(z_student / T)) + (1 - alpha) · τ² L_rank(τ)

with the z standardised over the candidates. L_rank has the left-out item as its hard
label and a τ of its own; its τ² is there for the same reason as T², for else the hard
label would drown the soft ones at any alpha that looks like a mixture.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from edgerec.learn import Batch, Twin, batches, ranking_loss, scale_of
from edgerec.plugin import F32, Context, DeviceModel, Reference, long_tail_share
from edgerec_distill.soft import distillation_loss, standardize
from edgerec_distill.teacher import Teacher

if TYPE_CHECKING:
    from edgerec_distill import Distill

__all__ = ["HEAD_SHARE", "long_tail", "teach"]

#: The share of the catalogue that counts as popular.
HEAD_SHARE = 0.2

#: τ of the ranking loss, on cosines.
HARD_TEMPERATURE = 0.1


def teach(
    student: DeviceModel, teacher: Teacher, options: Distill, context: Context
) -> DeviceModel:
    """Train the student and return it."""
    dataset = context.require_dataset("distill")
    rng = np.random.default_rng(context.seed)
    twin, scale = Twin(student), scale_of(student)
    optimizer = torch.optim.Adam(twin.parameters(), options.learning_rate)
    for epoch in range(options.epochs):
        # Cosine decay to nothing: the student ends where the teacher's list is sharpest.
        decay = 0.5 * (1 + math.cos(math.pi * epoch / options.epochs))
        optimizer.param_groups[0]["lr"] = options.learning_rate * decay
        losses = []
        seed = context.seed * 100_003 + epoch
        for batch in batches(student, dataset, size=options.batch, seed=seed):
            scores = teacher_scores(teacher, batch)
            rows = torch.from_numpy(candidates(scores, options.candidates, rng))
            given = standardize(torch.from_numpy(scores).gather(1, rows))
            user = twin(batch.history, batch.weights)
            learned = standardize(twin.logits(user).gather(1, rows))
            loss = options.alpha * distillation_loss(given, learned, options.temperature)
            if options.alpha < 1:
                hard = HARD_TEMPERATURE**2 * ranking_loss(twin, batch, scale, HARD_TEMPERATURE)
                loss = loss + (1 - options.alpha) * hard
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            losses.append(float(loss.detach()))
        context.progress(epoch + 1, options.epochs, f"distill, loss {np.mean(losses):.3f}")
    return twin.to_device_model()


def teacher_scores(teacher: Teacher, batch: Batch) -> F32:
    """Scores float32[B, n] of a batch's histories; what was seen is never a candidate."""
    history, weights = batch.history.numpy().astype(np.int32), batch.weights.numpy()
    return unseen(teacher.scores(history, weights), history, weights)


def unseen(scores: F32, history: NDArray[np.int32], weights: F32) -> F32:
    """Put each user's past items out of reach."""
    users, places = np.nonzero(weights > 0)
    scores[users, history[users, places]] = -np.inf
    return scores


def candidates(scores: F32, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """int64[B, ≤count]: half from the top of each list, half at random from the rest."""
    reachable = np.isfinite(scores)
    # What was seen must not be among them: it would be taught as what the teacher ranks last.
    count = min(count, int(reachable.sum(axis=1).min()))
    top = count - count // 2
    keys = np.where(reachable, rng.random(scores.shape, np.float32), 2)
    best = np.argpartition(-scores, top - 1, axis=1)[:, :top]
    np.put_along_axis(keys, best, -1, axis=1)
    return np.argpartition(keys, count - 1, axis=1)[:, :count]


def long_tail(models: list[DeviceModel], context: Context, users: int = 1000) -> list[float]:
    """Share of each model's top 20 that is outside the popular part, over training histories."""
    dataset = context.require_dataset("distill")
    rows = models[0].items.rows
    known = np.array([rows.get(item, -1) for item in dataset.items.ids])[dataset.train.items]
    popularity = np.bincount(known[known >= 0], minlength=len(rows))
    batch = next(batches(models[0], dataset, size=users, seed=context.seed))
    history, weights = batch.history.numpy().astype(np.int32), batch.weights.numpy()
    shares = []
    for model in models:
        oracle = Reference(model)
        scores = unseen(oracle.logits(oracle.encode(history, weights)), history, weights)
        top = np.argpartition(-scores, min(20, len(rows)) - 1, axis=1)
        shares.append(long_tail_share(top, popularity, head=HEAD_SHARE))
    return shares
