#include "twotower/data/pair_plan.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "support/catch.hpp"

using namespace twotower;
using data::BatchSpec;
using data::HistoryMode;
using data::Interactions;
using data::ItemLists;
using data::PairBatch;
using data::PairPlan;
using data::PairSpec;

namespace {

constexpr Index kQueries = 23, kItems = 40;

/// Random pairs, each once, sorted neither by query nor by item; every seventh is only seen.
struct Pairs {
  std::vector<Row> queries, items;
  std::vector<float> weights, targets;

  explicit Pairs(Index count) {
    RandomStream random(13, Purpose::kTest);
    std::set<std::pair<Row, Row>> chosen;
    while (std::ssize(chosen) < count)
      chosen.insert({static_cast<Row>(random.below(kQueries)), static_cast<Row>(random.below(kItems))});
    std::vector<std::pair<Row, Row>> order(chosen.begin(), chosen.end());
    random.shuffle(std::span(order));
    for (const auto& [query, item] : order) {
      queries.push_back(query);
      items.push_back(item);
      weights.push_back(weights.size() % 7 == 6 ? 0.0F : static_cast<float>(0.5 + random.uniform()));
      targets.push_back(static_cast<float>(100 * query + item));
    }
  }

  Interactions interactions() const { return {queries, items, weights, kQueries, kItems}; }
};

PairSpec spec_of(Index batch_size, Index group_size, Index negatives, HistoryMode history = HistoryMode::kNone) {
  BatchSpec batches;
  batches.batch_size = batch_size;
  batches.group_size = group_size;
  batches.history = history;
  return {batches, negatives};
}

std::vector<PairBatch> epoch_of(PairPlan& plan, Index epoch) {
  std::vector<PairBatch> batches(static_cast<std::size_t>(plan.batches_per_epoch()));
  for (std::size_t b = 0; b < batches.size(); ++b) plan.write(epoch, static_cast<Index>(b), batches[b]);
  return batches;
}

/// One pair of a batch with the names that it stands for.
struct Met {
  Row query, item;
  float target, weight;
  bool positive;
};

std::vector<Met> pairs_of(const PairBatch& batch) {
  std::vector<Met> met;
  for (std::size_t row = 0; row + 1 < batch.offsets.size(); ++row) {
    const auto positives = batch.rows.offsets[row + 1] - batch.rows.offsets[row];
    for (auto p = batch.offsets[row]; p < batch.offsets[row + 1]; ++p) {
      const auto pair = static_cast<std::size_t>(p);
      REQUIRE(batch.user_of_pair[pair] == static_cast<Row>(row));
      met.push_back({batch.rows.queries[row], batch.rows.candidates[static_cast<std::size_t>(batch.item_of_pair[pair])],
                     batch.targets[pair], batch.weights[pair], p - batch.offsets[row] < positives});
    }
  }
  return met;
}

bool same(const PairBatch& a, const PairBatch& b) {
  return a.rows.queries == b.rows.queries && a.rows.candidates == b.rows.candidates && a.offsets == b.offsets &&
         a.user_of_pair == b.user_of_pair && a.item_of_pair == b.item_of_pair && a.targets == b.targets && a.weights == b.weights;
}

bool has_seen(const Interactions& interactions, Row query, Row item) {
  const auto seen = interactions.seen().of(query);
  return std::find(seen.begin(), seen.end(), item) != seen.end();
}

}  // namespace

TEST_CASE("PairPlan: every positive once an epoch with its own target, its negatives unseen and worth 0") {
  const Index batch_size = GENERATE(1, 16, 10000), group_size = GENERATE(1, 3, 1000), negatives = GENERATE(0, 1, 4);
  const Pairs pairs(300);
  const Interactions interactions = pairs.interactions();
  PairPlan plan(interactions, spec_of(batch_size, group_size, negatives), 3, pairs.targets);
  for (const Index epoch : {0, 1}) {
    std::vector<std::pair<Row, Row>> positives;
    for (const PairBatch& batch : epoch_of(plan, epoch)) {
      REQUIRE(batch.offsets.size() == batch.rows.queries.size() + 1);
      REQUIRE(batch.item_of_pair.size() == batch.targets.size());
      REQUIRE(batch.weights.size() == batch.targets.size());
      const std::set<Row> distinct(batch.rows.candidates.begin(), batch.rows.candidates.end());
      REQUIRE(distinct.size() == batch.rows.candidates.size());
      Index drawn = 0;
      for (const Met& met : pairs_of(batch)) {
        REQUIRE(met.positive == has_seen(interactions, met.query, met.item));
        REQUIRE(met.target == (met.positive ? static_cast<float>(100 * met.query + met.item) : 0.0F));
        if (met.positive) positives.emplace_back(met.query, met.item);
        drawn += met.positive ? 0 : 1;
      }
      REQUIRE(drawn == negatives * std::ssize(batch.rows.positive_columns));  // nobody has seen everything
    }
    std::vector<std::pair<Row, Row>> wanted;
    for (Row query = 0; query < kQueries; ++query)
      for (const Row item : interactions.positives().of(query)) wanted.emplace_back(query, item);
    std::sort(positives.begin(), positives.end());
    std::sort(wanted.begin(), wanted.end());
    REQUIRE(positives == wanted);
  }
}

TEST_CASE("PairPlan: negatives follow their row's positives, and weigh as the positive they were drawn for") {
  const Pairs pairs(120);
  const Interactions interactions = pairs.interactions();
  PairPlan plan(interactions, spec_of(30, 4, 2), 3);
  for (const PairBatch& batch : epoch_of(plan, 0))
    for (std::size_t row = 0; row < batch.rows.queries.size(); ++row) {
      const auto positives = static_cast<std::size_t>(batch.rows.offsets[row + 1] - batch.rows.offsets[row]);
      const auto first = static_cast<std::size_t>(batch.offsets[row]);
      REQUIRE(static_cast<std::size_t>(batch.offsets[row + 1]) == first + 3 * positives);
      for (std::size_t p = 0; p < positives; ++p) {
        const auto place = static_cast<std::size_t>(batch.rows.offsets[row]) + p;
        CHECK(batch.item_of_pair[first + p] == batch.rows.positive_columns[place]);
        CHECK(batch.targets[first + p] == 1);
        for (std::size_t k = 0; k < 2; ++k) {
          CHECK(batch.targets[first + positives + 2 * p + k] == 0);
          CHECK(batch.weights[first + positives + 2 * p + k] == batch.rows.positive_weights[place]);
        }
      }
    }
}

TEST_CASE("PairPlan: unseen items are drawn alike, from the catalogue or from the query's pool") {
  const bool pooled = GENERATE(false, true);
  const Pairs pairs(300);
  const Interactions interactions = pairs.interactions();
  // Query q's pool: the ten items from q on, some of which it has seen.
  std::vector<std::int64_t> offsets{0};
  std::vector<Row> pool;
  for (Row query = 0; query < kQueries; ++query) {
    for (Row k = 0; k < 10; ++k) pool.push_back((query + k) % kItems);
    offsets.push_back(std::ssize(pool));
  }
  const ItemLists pools{offsets, pool, {}};
  PairPlan plan(interactions, spec_of(100, 8, 50), 3, {}, pooled ? &pools : nullptr);
  std::map<Row, std::map<Row, double>> drawn;
  for (const Index epoch : {0, 1, 2})
    for (const PairBatch& batch : epoch_of(plan, epoch))
      for (const Met& met : pairs_of(batch))
        if (!met.positive) ++drawn[met.query][met.item];
  for (Row query = 0; query < kQueries; ++query) {
    std::vector<Row> open;
    for (Row item = 0; item < kItems; ++item)
      if (!has_seen(interactions, query, item) && (!pooled || (item - query + kItems) % kItems < 10)) open.push_back(item);
    if (interactions.positives().of(query).empty()) continue;
    const double draws = 150.0 * static_cast<double>(interactions.positives().of(query).size());
    double total = 0;
    for (const Row item : open) {
      const double share = 1 / static_cast<double>(open.size());
      CHECK(std::abs(drawn[query][item] - draws * share) < 5 * std::sqrt(draws * share));
      total += drawn[query][item];
    }
    CHECK(total == (open.empty() ? 0 : draws));
  }
}

TEST_CASE("PairPlan: who has seen everything, or whose pool is empty or seen, gets no negatives") {
  std::vector<Row> queries, items;
  for (Row item = 0; item < 5; ++item) {  // query 0 has seen all, query 1 one
    queries.push_back(0);
    items.push_back(item);
  }
  queries.push_back(1);
  items.push_back(2);
  const Interactions interactions(queries, items, std::nullopt, 2, 5);
  const std::vector<std::int64_t> offsets{0, 0, 1};
  const std::vector<Row> pool{2};
  const ItemLists pools{offsets, pool, {}};
  const bool pooled = GENERATE(false, true);
  PairPlan plan(interactions, spec_of(100, 100, 3), 3, {}, pooled ? &pools : nullptr);
  for (const PairBatch& batch : epoch_of(plan, 0)) {
    Index drawn = 0;
    for (const Met& met : pairs_of(batch))
      if (!met.positive) {
        CHECK(met.query == 1);
        ++drawn;
      }
    CHECK(drawn == (pooled ? 0 : 3));
  }
}

TEST_CASE("PairPlan: a batch is the same for whoever asks, in any order, and another with another seed") {
  const Pairs pairs(200);
  const Interactions interactions = pairs.interactions();
  const PairSpec spec = spec_of(30, 4, 2);
  PairPlan plan(interactions, spec, 3), other(interactions, spec, 3), reseeded(interactions, spec, 4);
  const auto first = epoch_of(plan, 0), second = epoch_of(plan, 1);
  CHECK(!same(first[0], second[0]));
  CHECK(!same(first[0], epoch_of(reseeded, 0)[0]));
  PairBatch batch;
  for (Index number = plan.batches_per_epoch() - 1; number >= 0; --number) {
    other.write(1, number, batch);
    REQUIRE(same(batch, second[static_cast<std::size_t>(number)]));
    other.write(0, number, batch);
    REQUIRE(same(batch, first[static_cast<std::size_t>(number)]));
  }
}

TEST_CASE("PairPlan: histories are the rows' own, without what the row is asked for") {
  const Pairs pairs(200);
  const Interactions interactions = pairs.interactions();
  PairPlan plan(interactions, spec_of(30, 4, 1, HistoryMode::kOthers), 3);
  for (const PairBatch& batch : epoch_of(plan, 0)) {
    const auto& histories = batch.rows.histories;
    REQUIRE(histories.lengths.size() == batch.rows.queries.size());
    for (std::size_t row = 0; row < batch.rows.queries.size(); ++row)
      for (auto p = batch.rows.offsets[row]; p < batch.rows.offsets[row + 1]; ++p) {
        const Row item =
            batch.rows.candidates[static_cast<std::size_t>(batch.rows.positive_columns[static_cast<std::size_t>(p)])];
        const auto begin = histories.items.begin() + histories.offsets[row],
                   end = histories.items.begin() + histories.offsets[row + 1];
        CHECK(std::find(begin, end, item) == end);
      }
  }
}

TEST_CASE("PairPlan: refuses what does not fit") {
  const std::vector<Row> queries{0, 1, 1}, items{0, 1, 2};
  const Interactions interactions(queries, items, std::nullopt, 2, 3);
  const auto make = [&](const PairSpec& spec, std::span<const float> targets = {}, const ItemLists* pools = nullptr) {
    return PairPlan(interactions, spec, 3, targets, pools);
  };
  CHECK_THROWS_WITH(make(spec_of(8, 1, -1)), "PairPlan: negatives is -1, but must be at least 0");
  PairSpec own = spec_of(8, 1, 1);
  own.batches.negatives.count = 5;
  CHECK_THROWS_WITH(make(own), "PairPlan: negatives of the batches is 5, but must equal none, which is 0");
  const std::vector<float> few{1, 2}, broken{1, 2, std::nanf("")};
  CHECK_THROWS_WITH(make(spec_of(8, 1, 1), few), "PairPlan: size of targets is 2, but must be at least 3");
  CHECK_THROWS_WITH(make(spec_of(8, 1, 1), broken), "PairPlan: targets[2] is nan, but must be a finite number");
  const std::vector<std::int64_t> one{0, 1}, two{0, 1, 1}, beyond{0, 1, 2};
  const std::vector<Row> zero{0}, three{3};
  const ItemLists short_offsets{one, zero, {}}, wrong_end{beyond, zero, {}}, wrong_item{two, three, {}};
  CHECK_THROWS_WITH(make(spec_of(8, 1, 1), {}, &short_offsets),
                    "PairPlan: size of pool offsets is 2, but must equal num_queries of the interactions + 1, which is 3");
  CHECK_THROWS_WITH(make(spec_of(8, 1, 1), {}, &wrong_end), "PairPlan: pool offsets runs from 0 to 2, but must run from 0 to 1");
  CHECK_THROWS_WITH(make(spec_of(8, 1, 1), {}, &wrong_item), "PairPlan: pool items[0] is 3, but must be in [0, 3)");
  PairPlan plan = make(spec_of(8, 1, 1));
  PairBatch batch;
  CHECK_THROWS_WITH(plan.write(0, 1, batch), "BatchPlan: batch is 1, but must be in [0, 1)");
}
