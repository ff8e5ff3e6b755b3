"""Fit, ask, save, load and measure a small model: what `make test-old-cpu` runs on an emulated CPU."""

import tempfile
from pathlib import Path

import twotower as tt

data = tt.datasets.synthetic(num_users=60, num_items=40, num_interactions=900)
model = tt.TwoTower(dim=16, epochs=2, random_state=0, verbose=0).fit(data.ratings, items=data.items)
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder) / "model.twotower")
    model = tt.load(Path(folder) / "model.twotower")
lists = model.recommend(k=5)
measured = tt.evaluate(model, data.ratings, ["recall@5", "ndcg@5"], filter_seen=False)
assert len(lists) == 5 * len(model.user_ids_)
cpu = tt.cpu_info()
print(
    f"{cpu['name']}: x86-64-v{cpu['level']}, core {cpu['isa']}: {len(lists)} places in lists, {len(measured)} model measured"
)
