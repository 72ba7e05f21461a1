"""Faults in training, GNN families, and files of trained networks."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["FAULTS"]

FAMILIES, TRAINED = ("tests/plugins/test_families.py",), ("tests/training/test_trained.py",)
CONTEXT, MOMENTS = ("tests/training/test_user_context.py",), ("tests/training/test_moments.py",)
LAYERS = ("tests/training/test_message_passing.py",)
LOOP, FILE, OPTIONS = (f"edgerec/training/{n}.py" for n in ("loop", "gnn_file", "options"))
LOADING, SUITE = "edgerec/training/trained.py", "edgerec/testing/families.py"

FAULTS = (
    Mutant(
        "a loaded network loses its tilt",
        FILE,
        "        gnn.popularity = self.popularity\n",
        "",
        TRAINED,
    ),
    Mutant(
        "titles do not belong to a dataset's digest",
        FILE,
        "*items_sections(dataset.items).values(), train.indptr",
        "train.indptr",
        TRAINED,
    ),
    Mutant(
        "weights do not belong to a dataset's digest",
        FILE,
        "train.items, *weights)",
        "train.items)",
        TRAINED,
    ),
    Mutant(
        "a network of any dataset is loaded",
        LOADING,
        "if file.dataset != digest_of(dataset, file.options.features, file.options.context):",
        "if False:",
        TRAINED,
    ),
    Mutant(
        "a network is loaded into one of other options",
        LOADING,
        "or family_options(family) != file.family_options",
        "",
        TRAINED,
    ),
    Mutant(
        "loading a network changes what is drawn next",
        LOADING,
        "with torch.random.fork_rng(devices=[]):",
        "if True:",
        TRAINED,
    ),
    Mutant(
        "a training resumes with another family",
        LOOP,
        'return rest | {"model": family.name} | own',
        'return {k: v for k, v in rest.items() if k != "model"}',
        TRAINED,
    ),
    Mutant(
        "options that a family lacks are dropped",
        OPTIONS,
        "if unknown := sorted(set(given) - taken):",
        "given = {k: v for k, v in given.items() if k in taken}\n"
        "            if unknown := sorted(set(given) - taken):",
        ("tests/training/test_families.py",),
    ),
    Mutant(
        "the contract does not compare scores",
        SUITE,
        "_equal(logits, users @ items.T",
        "_equal(logits, logits",
        FAMILIES,
    ),
    Mutant(
        "the contract does not compare the two forms of the graph",
        SUITE,
        "        _equal(theirs, ours,",
        "        _equal(theirs, theirs,",
        FAMILIES,
    ),
    Mutant(
        "side edges do not belong to a dataset's digest",
        FILE,
        "digest.update(name.encode() + edges.tobytes())",
        "pass",
        ("tests/data/test_side_edges.py",),
    ),
    Mutant(
        "a core keeps side edges in their old rows",
        "edgerec/data/dataset.py",
        "np.searchsorted(rows, ends[kept])",
        "ends[kept]",
        ("tests/data/test_side_edges.py",),
    ),
    Mutant(
        "all facts count alike",
        "edgerec/training/feature_coding.py",
        "(n / torch.bincount(token)[token]).log()",
        "torch.ones(len(token))",
        LAYERS,
    ),
    Mutant(
        "relations are ignored",
        "plugins/edgerec_families/knowledge.py",
        " * F.embedding(self.relation, self.relations)",
        "",
        LAYERS,
    ),
    Mutant(
        "friends are not divided by their number",
        "plugins/edgerec_families/social.py",
        "self.weight / self.offsets.diff()[user]",
        "self.weight * torch.ones(len(user))",
        LAYERS,
    ),
    Mutant(
        "neighbors count alike",
        "plugins/edgerec_families/pinsage.py",
        "most / most.sum(1, keepdim=True).clamp(min=1e-12)",
        "torch.full_like(most, 1 / count)",
        LAYERS,
    ),
    Mutant(
        "products of neighbors are left out",
        "plugins/edgerec_families/ngcf.py",
        " + other(state * pooled)",
        "",
        LAYERS,
    ),
    Mutant(
        "interactions are learned with the moment of others",
        "edgerec/training/objective.py",
        "tables, edges[later])",
        "tables, edges[later - 1])",
        MOMENTS,
    ),
    Mutant(
        "users are trained with the context of others",
        "edgerec/training/user_context.py",
        "F.embedding(users, self.rows) @",
        "F.embedding(users, self.rows.roll(1, 0)) @",
        CONTEXT,
    ),
    Mutant(
        "examples have the context of others",
        "edgerec/training/examples.py",
        "torch.as_tensor(rows[users])",
        "torch.as_tensor(rows[users[::-1].copy()])",
        ("tests/training/test_context_steps.py",),
    ),
    Mutant(
        "users are ranked for at the moment of their last item",
        "edgerec/data/moments.py",
        "held.indptr[:-1][some]",
        "held.indptr[1:][some] - 1",
        MOMENTS,
    ),
    Mutant("the contract exports nothing", SUITE, "not target.runtimes()", "True", FAMILIES),
)
