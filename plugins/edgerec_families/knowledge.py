r"""Knowledge: GAT over items that facts describe.

A fact (i, r, t) says that an item has a relation to an entity: a course is taught by a teacher. An
item's vector is its own, and the sum of what its facts say:

    x_i = e_i + Σ_{(r, t) ∈ T(i)} w_it (g_r ⊙ v_t),    w_it ∝ log(n / n_t),  Σ w_it² = 1

v_t is the entity's vector and g_r the relation's, which selects what matters of it (Wang et al.,
"Learning Intents behind Interactions with Knowledge Graph for Recommendation", WWW 2021, eq. 9).
n_t is the number of facts that an entity is in: one that all items share says nothing. Message
passing between items and users goes on from x, by attention as in ``gat``; so do Wang et al.,
"KGAT", KDD 2019, on one graph of both. Entities start at zero, so training starts from the items
alone.

The device sees no facts: they are in the rows, for the same size and speed as without.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.learn import bag, weigh_by_rarity
from edgerec.plugin import Dataset, OptionError
from edgerec_families.gat import GAT

__all__ = ["Knowledge"]


class Knowledge(GAT):
    """GAT on the bipartite graph, over items and their facts; arguments as those of GAT."""

    relation: Tensor
    entity: Tensor
    offsets: Tensor
    weights: Tensor

    def attach(self, dataset: Dataset) -> None:
        """Take the facts, and make the vectors of entities and relations."""
        if dataset.triples is None:
            raise OptionError(
                f"knowledge: {dataset.name} has no facts about items; read some with `edgerec data "
                "--triples FILE` (read_dataset(triples=...)), or choose another family"
            )
        triples = dataset.triples[dataset.triples[:, 0].argsort(kind="stable")]
        item, relation, entity = torch.as_tensor(triples.astype("int64")).T
        counts = torch.bincount(item, minlength=self.n_items)
        buffers = {
            "relation": relation,
            "entity": entity,
            "offsets": F.pad(counts.cumsum(0), (1, 0)),
            "weights": weigh_by_rarity(item, entity, self.n_items),
        }
        for name, values in buffers.items():
            # They follow from the facts, so that files need not keep them.
            self.register_buffer(name, values.contiguous(), persistent=False)
        self.entities = nn.Parameter(torch.zeros(int(entity.max()) + 1, self.dim))
        self.relations = nn.Parameter(torch.ones(int(relation.max()) + 1, self.dim))

    def vectors(self) -> Tensor:
        """Item vectors with what their facts say."""
        # F.embedding, not indexing: on CPU its backward is many times faster.
        facts = F.embedding(self.entity, self.entities) * F.embedding(self.relation, self.relations)
        each = torch.arange(len(facts))
        return super().vectors() + bag(facts, each, self.offsets, self.weights)
