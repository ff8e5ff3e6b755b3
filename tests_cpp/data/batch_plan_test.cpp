#include "twotower/data/batch_plan.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "support/catch.hpp"

using twotower::Index;
using twotower::Purpose;
using twotower::RandomStream;
using twotower::Row;
using twotower::data::Batch;
using twotower::data::BatchPlan;
using twotower::data::BatchSpec;
using twotower::data::HistoryMode;
using twotower::data::Interactions;

namespace {

/// Random pairs, each once; small items are popular, every seventh pair is only seen, weights lie in [0.5, 2].
Interactions skewed(Index pairs, Index num_queries, Index num_items, bool weighted) {
  RandomStream random(11, Purpose::kTest);
  std::set<std::pair<Row, Row>> chosen;
  while (std::ssize(chosen) < pairs)
    chosen.insert({static_cast<Row>(random.below(num_queries)), static_cast<Row>(random.below(random.below(num_items) + 1))});
  std::vector<Row> queries, items;
  std::vector<float> weights;
  for (const auto& [query, item] : chosen) {
    queries.push_back(query);
    items.push_back(item);
    weights.push_back(weights.size() % 7 == 6 ? 0.0F : weighted ? static_cast<float>(0.5 + 1.5 * random.uniform()) : 1.0F);
  }
  return {queries, items, weights, num_queries, num_items};
}

std::vector<Batch> epoch_of(BatchPlan& plan, Index epoch) {
  std::vector<Batch> batches(static_cast<std::size_t>(plan.batches_per_epoch()));
  for (std::size_t b = 0; b < batches.size(); ++b) plan.write(epoch, static_cast<Index>(b), batches[b]);
  return batches;
}

bool same(const Batch& a, const Batch& b) {
  return a.queries == b.queries && a.offsets == b.offsets && a.positive_columns == b.positive_columns &&
         a.positive_weights == b.positive_weights && a.candidates == b.candidates && a.log_weights == b.log_weights;
}

/// Every pair of a query and a positive, sorted, repeats kept.
std::vector<std::pair<Row, Row>> pairs_of(const Interactions& interactions) {
  std::vector<std::pair<Row, Row>> pairs;
  for (Index query = 0; query < interactions.num_queries(); ++query)
    for (const Row item : interactions.positives().of(query)) pairs.emplace_back(static_cast<Row>(query), item);
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

std::vector<std::pair<Row, Row>> pairs_of(const std::vector<Batch>& batches) {
  std::vector<std::pair<Row, Row>> pairs;
  for (const Batch& batch : batches)
    for (std::size_t row = 0; row < batch.queries.size(); ++row)
      for (auto p = batch.offsets[row]; p < batch.offsets[row + 1]; ++p)
        pairs.emplace_back(batch.queries[row],
                           batch.candidates[static_cast<std::size_t>(batch.positive_columns[static_cast<std::size_t>(p)])]);
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

/// P of the header, for an item of `count` positives out of `total`.
double probability(double count, double total, double batches, const BatchSpec& spec, double num_items) {
  const double draw = spec.negatives.popularity_share * count / total + (1 - spec.negatives.popularity_share) / num_items;
  return 1 - std::pow(1 - 1 / batches, count) * std::pow(1 - draw, static_cast<double>(spec.negatives.count));
}

}  // namespace

TEST_CASE("BatchPlan: every positive once an epoch, in groups of one query, among distinct candidates") {
  const Index batch_size = GENERATE(1, 7, 64, 10000), group_size = GENERATE(1, 2, 5, 1000), negatives = GENERATE(0, 9);
  const Interactions interactions = skewed(300, 31, 37, true);
  BatchPlan plan(interactions, {batch_size, group_size, 1, 0, {negatives, 0.5}}, 3);
  for (const Index epoch : {0, 1}) {
    const auto batches = epoch_of(plan, epoch);
    REQUIRE(pairs_of(batches) == pairs_of(interactions));
    for (const Batch& batch : batches) {
      REQUIRE(!batch.queries.empty());
      REQUIRE(batch.offsets.size() == batch.queries.size() + 1);
      for (std::size_t row = 0; row < batch.queries.size(); ++row) {
        const auto positives = batch.offsets[row + 1] - batch.offsets[row];
        REQUIRE((positives >= 1 && positives <= group_size));
      }
      const std::set<Row> distinct(batch.candidates.begin(), batch.candidates.end());
      REQUIRE(distinct.size() == batch.candidates.size());
      REQUIRE(batch.log_weights.size() == batch.candidates.size());
      REQUIRE(batch.positive_weights.size() == batch.positive_columns.size());
      REQUIRE(std::accumulate(batch.positive_weights.begin(), batch.positive_weights.end(), 0.0) == Approx(1));
    }
  }
}

TEST_CASE("BatchPlan: repeats of a pair are used as often as they came") {
  const std::vector<Row> queries{0, 0, 0, 1}, items{2, 2, 1, 2};
  const Interactions interactions(queries, items, std::nullopt, 2, 3);
  BatchPlan plan(interactions, {2, 2, 1, 0, {}}, 3);
  CHECK(pairs_of(epoch_of(plan, 0)) == pairs_of(interactions));
}

TEST_CASE("BatchPlan: batches are equal shares of the groups, their number is fixed") {
  const Interactions interactions = skewed(300, 31, 37, false);
  const auto positives = static_cast<double>(interactions.num_positives());
  const auto [batch_size, group_size] =
      GENERATE(std::pair<Index, Index>{40, 1}, std::pair<Index, Index>{64, 4}, std::pair<Index, Index>{1, 1000});
  BatchPlan plan(interactions, {batch_size, group_size, 1, 0, {}}, 3);
  // The last case has fewer groups, one a query, than positives: then a batch is a group.
  const Index wanted = group_size == 1000 ? 31 : static_cast<Index>(std::ceil(positives / static_cast<double>(batch_size)));
  CHECK(plan.batches_per_epoch() == wanted);
  for (const Index epoch : {0, 5}) {
    const auto batches = epoch_of(plan, epoch);
    const auto [fewest, most] = std::minmax_element(
        batches.begin(), batches.end(), [](const Batch& a, const Batch& b) { return a.queries.size() < b.queries.size(); });
    CHECK(most->queries.size() - fewest->queries.size() <= 1);
  }
}

TEST_CASE("BatchPlan: a batch is the same for whoever asks, in any order") {
  const Interactions interactions = skewed(300, 31, 37, true);
  const BatchSpec spec{50, 3, 1, 0.5, {10, 0.5}};
  BatchPlan plan(interactions, spec, 3), other(interactions, spec, 3), reseeded(interactions, spec, 4);
  const auto first = epoch_of(plan, 0), second = epoch_of(plan, 1);
  CHECK(!same(first[0], second[0]));
  CHECK(!same(first[0], epoch_of(reseeded, 0)[0]));
  Batch batch;
  for (Index number = plan.batches_per_epoch() - 1; number >= 0; --number) {
    other.write(1, number, batch);
    REQUIRE(same(batch, second[static_cast<std::size_t>(number)]));
    other.write(0, number, batch);
    REQUIRE(same(batch, first[static_cast<std::size_t>(number)]));
  }
}

TEST_CASE("BatchPlan: the same batches for 1, 2 and 7 threads") {
  const Interactions interactions = skewed(12'000, 9'000, 50, false);  // three blocks of queries
  for (const auto history : {HistoryMode::kNone, HistoryMode::kBefore}) {
    BatchSpec spec{700, 3};
    spec.history = history;
    BatchPlan plan(interactions, spec, 5);
    for (const int num_threads : {2, 7}) {
      BatchPlan threaded(interactions, spec, 5);
      for (Index batch = 0; batch < plan.batches_per_epoch(); ++batch) {
        Batch wanted, made;
        plan.write(1, batch, wanted);
        threaded.write(1, batch, made, twotower::Threads(num_threads));
        REQUIRE(same(made, wanted));
      }
    }
  }
}

TEST_CASE("BatchPlan: a query's groups differ from epoch to epoch, and its batch companions too") {
  const std::vector<Row> queries(8, 0), items{0, 1, 2, 3, 4, 5, 6, 7};
  const Interactions interactions(queries, items, std::nullopt, 1, 8);
  BatchPlan plan(interactions, {4, 4, 1, 0, {}}, 3);
  std::set<std::set<Row>> halves;
  for (Index epoch = 0; epoch < 30; ++epoch) {
    const auto batches = epoch_of(plan, epoch);
    halves.insert({batches[0].candidates.begin(), batches[0].candidates.end()});
  }
  CHECK(halves.size() > 15);  // of 70
}

TEST_CASE("BatchPlan: weights follow the pair's weight and its query's balance, on paper") {
  // Query 0 has four positives of weight 1, query 1 one of weight 3. With a = 0.5: 1 / sqrt(4) = 0.5 each, and 3 / sqrt(1) = 3.
  // One batch: 4 * 0.5 + 3 = 5, so 0.1 each and 0.6.
  const std::vector<Row> queries{0, 0, 0, 0, 1}, items{0, 1, 2, 3, 3};
  const std::vector<float> weights{1, 1, 1, 1, 3};
  const Interactions interactions(queries, items, weights, 2, 4);
  const auto weights_of = [&](double balance) {
    BatchPlan plan(interactions, {100, 2, 1, balance, {}}, 3);
    Batch batch;
    plan.write(0, 0, batch);
    std::vector<float> sorted = batch.positive_weights;
    std::sort(sorted.begin(), sorted.end());
    return sorted;
  };
  const auto half = weights_of(0.5), none = weights_of(0), whole = weights_of(1);
  for (std::size_t k = 0; k < 4; ++k) {
    CHECK(half[k] == Approx(0.1));
    CHECK(none[k] == Approx(1.0 / 7));
    CHECK(whole[k] == Approx(0.25 / 4));
  }
  CHECK(half[4] == Approx(0.6));
  CHECK(none[4] == Approx(3.0 / 7));
  CHECK(whole[4] == Approx(3.0 / 4));
}

TEST_CASE("BatchPlan: weight and balance reach the right positive, in every batch") {
  const Interactions interactions = skewed(300, 31, 37, true);
  BatchPlan plan(interactions, {40, 3, 1, 0.7, {}}, 3);
  std::map<std::pair<Row, Row>, double> wanted;
  for (Index query = 0; query < 31; ++query) {
    const auto list = interactions.positives().of(query);
    for (std::size_t k = 0; k < list.size(); ++k) {
      const auto place = static_cast<std::size_t>(interactions.positives().offsets[static_cast<std::size_t>(query)]) + k;
      wanted[{static_cast<Row>(query), list[k]}] =
          static_cast<double>(interactions.weights()[place]) * std::pow(list.size(), -0.7);
    }
  }
  for (const Batch& batch : epoch_of(plan, 2)) {
    std::vector<double> raw;
    for (std::size_t row = 0; row < batch.queries.size(); ++row)
      for (auto p = batch.offsets[row]; p < batch.offsets[row + 1]; ++p)
        raw.push_back(
            wanted.at({batch.queries[row],
                       batch.candidates[static_cast<std::size_t>(batch.positive_columns[static_cast<std::size_t>(p)])]}));
    const double total = std::accumulate(raw.begin(), raw.end(), 0.0);
    for (std::size_t p = 0; p < raw.size(); ++p) REQUIRE(batch.positive_weights[p] == Approx(raw[p] / total).epsilon(1e-6));
  }
}

TEST_CASE("BatchPlan: log weights are -strength log P, by the formula of the header") {
  const Interactions interactions = skewed(300, 31, 37, true);
  const auto counts = interactions.item_counts();
  const auto total = static_cast<double>(interactions.num_positives());
  const double strength = GENERATE(0.0, 0.5, 1.0);
  const BatchSpec spec{GENERATE(5, 64, 1000), GENERATE(1, 4), strength, 0, {GENERATE(0, 20), GENERATE(0.0, 0.4, 1.0)}};
  BatchPlan plan(interactions, spec, 3);
  const auto batches = static_cast<double>(plan.batches_per_epoch());
  for (const Batch& batch : epoch_of(plan, 0))
    for (std::size_t c = 0; c < batch.candidates.size(); ++c) {
      const double p = probability(counts[static_cast<std::size_t>(batch.candidates[c])], total, batches, spec, 37);
      REQUIRE(batch.log_weights[c] == Approx(-strength * std::log(p)).margin(1e-6));
      REQUIRE(batch.log_weights[c] >= 0);
    }
}

TEST_CASE("BatchPlan: a rare candidate weighs more than a popular one - the sign of logQ") {
  // Item 0 is 8 of 10 positives, items 1 and 2 one each; ten batches of one positive: P is 1 - 0.9^8 = 0.57 and 0.1.
  const std::vector<Row> queries{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, items{0, 0, 0, 0, 0, 0, 0, 0, 1, 2};
  const Interactions interactions(queries, items, std::nullopt, 10, 3);
  BatchPlan plan(interactions, {1, 1, 1, 0, {}}, 3);
  for (const Batch& batch : epoch_of(plan, 0))
    CHECK(batch.log_weights[0] == Approx(batch.candidates[0] == 0 ? -std::log(1 - std::pow(0.9, 8)) : std::log(10)));
}

TEST_CASE("BatchPlan: with one batch an epoch every positive's item is a candidate for sure and weighs 1") {
  const Interactions interactions = skewed(60, 31, 37, false);
  BatchPlan plan(interactions, {1000, 4, 1, 0, {}}, 3);
  REQUIRE(plan.batches_per_epoch() == 1);
  Batch batch;
  plan.write(0, 0, batch);
  for (const float weight : batch.log_weights) CHECK(weight == 0);
}

TEST_CASE("BatchPlan: an item is a candidate as often as its log weight says") {
  const Index group_size = GENERATE(1, 4), batch_size = GENERATE(50, 200);
  const Interactions interactions = skewed(700, 60, 60, false);
  const auto counts = interactions.item_counts();
  const auto total = static_cast<double>(interactions.num_positives());
  const BatchSpec spec{batch_size, group_size, 1, 0, {10, 0.3}};
  BatchPlan plan(interactions, spec, 3);
  const auto batches_per_epoch = static_cast<double>(plan.batches_per_epoch());
  double groups = 0;
  for (const Batch& batch : epoch_of(plan, 0)) groups += static_cast<double>(batch.queries.size());

  const Index epochs = 6000 / plan.batches_per_epoch();
  const double batches = static_cast<double>(epochs) * batches_per_epoch;
  std::vector<double> times(60), log_weights(60, -1);
  for (Index epoch = 0; epoch < epochs; ++epoch)
    for (const Batch& batch : epoch_of(plan, epoch))
      for (std::size_t c = 0; c < batch.candidates.size(); ++c) {
        const auto item = static_cast<std::size_t>(batch.candidates[c]);
        ++times[item];
        log_weights[item] = static_cast<double>(batch.log_weights[c]);
      }
  for (std::size_t item = 0; item < 60; ++item) {
    // The truth: an item's positives lie in as many groups, and a batch takes its share of all groups without putting back.
    double absent = std::pow(1 - 0.3 * counts[item] / total - 0.7 / 60, 10);
    for (double before = 0; before < counts[item]; ++before) absent *= 1 - groups / batches_per_epoch / (groups - before);
    const double truth = 1 - absent;
    INFO("item " << item << " of " << counts[item] << " positives");
    CHECK(std::abs(times[item] / batches - truth) <= 5 * std::sqrt(truth * absent / batches));
    // The formula takes the positives as independent, which is a little less.
    CHECK(std::exp(-log_weights[item]) == Approx(truth).epsilon(0.03));
  }
}

TEST_CASE("BatchPlan: drawn negatives join behind the positives") {
  const Interactions interactions = skewed(60, 31, 37, false);
  BatchPlan with(interactions, {10, 2, 1, 0, {500, 0}}, 3), without(interactions, {10, 2, 1, 0, {}}, 3);
  Batch many, few;
  with.write(0, 2, many);
  without.write(0, 2, few);
  CHECK(many.queries == few.queries);
  CHECK(many.positive_columns == few.positive_columns);
  CHECK(std::equal(few.candidates.begin(), few.candidates.end(), many.candidates.begin()));
  CHECK(many.candidates.size() == 37);  // 500 draws miss one of 37 items with probability 37 * exp(-13.5)
}

TEST_CASE("BatchPlan: smallest problem") {
  const std::vector<Row> one{0};
  const Interactions interactions(one, one, std::nullopt, 1, 1);
  BatchPlan plan(interactions, {4096, 16, 1, 0.5, {3, 0}}, 0);
  REQUIRE(plan.batches_per_epoch() == 1);
  Batch batch;
  plan.write(7, 0, batch);
  CHECK(batch.queries == one);
  CHECK(batch.candidates == one);
  CHECK(batch.positive_columns == one);
  CHECK(batch.positive_weights == std::vector<float>{1});
  CHECK(batch.log_weights == std::vector<float>{0});
}

TEST_CASE("BatchPlan: refuses what makes no sense") {
  const Interactions interactions = skewed(60, 31, 37, false);
  const auto make = [&](const BatchSpec& spec) { return BatchPlan(interactions, spec, 0); };
  CHECK_THROWS_WITH(make({0, 1, 1, 0, {}}), "BatchPlan: batch_size is 0, but must be at least 1");
  CHECK_THROWS_WITH(make({1, 0, 1, 0, {}}), "BatchPlan: group_size is 0, but must be at least 1");
  CHECK_THROWS_WITH(make({1, 1, 1.5, 0, {}}), "BatchPlan: logq_strength is 1.5, but must be in [0, 1]");
  CHECK_THROWS_WITH(make({1, 1, 1, -1, {}}), "BatchPlan: query_balance is -1, but must be in [0, 1]");
  CHECK_THROWS_WITH(make({1, 1, 1, 0, {-1, 0}}), "NegativeSampler: count is -1, but must be at least 0");
  const std::vector<Row> one{0};
  const std::vector<float> zero{0};
  const Interactions nothing(one, one, zero, 1, 1);
  CHECK_THROWS_WITH(BatchPlan(nothing, {}, 0), "BatchPlan: number of positives is 0, but must be at least 1");
  BatchPlan plan = make({30, 1, 1, 0, {}});
  Batch batch;
  CHECK_THROWS_WITH(plan.write(0, 2, batch), "BatchPlan: batch is 2, but must be in [0, 2)");
  CHECK_THROWS_WITH(plan.write(0, -1, batch), "BatchPlan: batch is -1, but must be in [0, 2)");
}

// --- histories -------------------------------------------------------------------------------------------------------------

namespace {

using twotower::data::ItemLists;

BatchSpec with_history(HistoryMode mode, Index group_size, Index max_length) {
  BatchSpec spec;
  spec.batch_size = 40;
  spec.group_size = group_size;
  spec.negatives.count = 5;
  spec.history = mode;
  spec.max_length = max_length;
  return spec;
}

/// The items of a batch's row, and what its reader sees.
struct SeenRow {
  Row query;
  std::vector<Row> items, past;
};

std::vector<SeenRow> rows_of(const Batch& batch) {
  std::vector<SeenRow> rows;
  for (std::size_t row = 0; row < batch.queries.size(); ++row) {
    SeenRow made{batch.queries[row], {}, {}};
    for (auto p = batch.offsets[row]; p < batch.offsets[row + 1]; ++p)
      made.items.push_back(batch.candidates[static_cast<std::size_t>(batch.positive_columns[static_cast<std::size_t>(p)])]);
    std::size_t sequence = 0;
    while (batch.histories.readers[sequence + 1] <= static_cast<std::int64_t>(row)) ++sequence;
    const auto begin = batch.histories.items.begin() + batch.histories.offsets[sequence];
    REQUIRE(batch.histories.lengths[row] <= batch.histories.offsets[sequence + 1] - batch.histories.offsets[sequence]);
    made.past.assign(begin, begin + batch.histories.lengths[row]);
    rows.push_back(made);
  }
  return rows;
}

/// Positives in time order; an item may come again.
Interactions walks(Index num_queries, Index num_items) {
  RandomStream random(5, Purpose::kTest);
  std::vector<Row> queries, items;
  for (Row query = 0; query < num_queries; ++query)
    for (std::int64_t left = random.below(23); left > 0; --left) {
      queries.push_back(query);
      items.push_back(static_cast<Row>(random.below(num_items)));
    }
  return {queries, items, std::nullopt, num_queries, num_items};
}

}  // namespace

TEST_CASE("BatchPlan: a history before holds the newest positives in front of the row's own, in their order") {
  const Index group_size = GENERATE(1, 3, 16), max_length = GENERATE(1, 4, 100);
  const auto interactions = walks(30, 20);
  BatchPlan plan(interactions, with_history(HistoryMode::kBefore, group_size, max_length), 3);
  for (Index epoch = 0; epoch < 3; ++epoch) {
    const auto batches = epoch_of(plan, epoch);
    CHECK(pairs_of(batches) == pairs_of(interactions));
    for (const Batch& batch : batches)
      for (const SeenRow& row : rows_of(batch)) {
        const auto all = interactions.positives().of(row.query);
        // The row's items are a stretch of the query's: find where one starts with this past in front.
        bool found = false;
        for (std::size_t start = 0; start + row.items.size() <= all.size() && !found; ++start) {
          const std::size_t length = std::min<std::size_t>(start, static_cast<std::size_t>(max_length));
          found = std::equal(row.items.begin(), row.items.end(), all.begin() + static_cast<std::ptrdiff_t>(start)) &&
                  std::equal(row.past.begin(), row.past.end(), all.begin() + static_cast<std::ptrdiff_t>(start - length),
                             all.begin() + static_cast<std::ptrdiff_t>(start));
        }
        CHECK(found);
      }
  }
}

TEST_CASE("BatchPlan: a session's rows see what came before the session, the first session's its others") {
  const Index group_size = GENERATE(1, 3, 16), max_length = GENERATE(1, 4, 100);
  const auto plain = walks(30, 20);
  // Sessions of one to five positives each.
  std::vector<Row> queries, items, sessions;
  RandomStream random(6, Purpose::kTest);
  for (Index query = 0; query < 30; ++query) {
    Row session = 0;
    for (const Row item : plain.positives().of(query)) {
      queries.push_back(static_cast<Row>(query));
      items.push_back(item);
      sessions.push_back(session += random.below(3) == 0);
    }
  }
  const Interactions interactions(queries, items, std::nullopt, 30, 20, std::nullopt, sessions);
  BatchPlan plan(interactions, with_history(HistoryMode::kSessions, group_size, max_length), 3);
  const auto batches = epoch_of(plan, 1);
  CHECK(pairs_of(batches) == pairs_of(interactions));
  for (const Batch& batch : batches)
    for (std::size_t row = 0; row < batch.queries.size(); ++row) {
      const SeenRow seen = rows_of(batch)[row];
      const auto all = interactions.positives().of(seen.query);
      const auto first = static_cast<std::size_t>(interactions.positives().offsets[static_cast<std::size_t>(seen.query)]);
      const Row session = sessions[static_cast<std::size_t>(batch.pairs[row])];
      std::vector<Row> before, own;
      for (std::size_t k = 0; k < all.size(); ++k) {
        if (interactions.sessions()[first + k] < session) before.push_back(all[k]);
        if (interactions.sessions()[first + k] == session) own.push_back(all[k]);
      }
      for (const Row item : seen.items) REQUIRE(std::find(own.begin(), own.end(), item) != own.end());
      std::vector<Row> wanted = before;
      if (before.empty())
        std::copy_if(own.begin(), own.end(), std::back_inserter(wanted),
                     [&](Row item) { return std::find(seen.items.begin(), seen.items.end(), item) == seen.items.end(); });
      if (std::ssize(wanted) > max_length) wanted.erase(wanted.begin(), wanted.end() - max_length);
      REQUIRE(seen.past == wanted);
    }
  CHECK_THROWS_WITH(BatchPlan(plain, with_history(HistoryMode::kSessions, 1, 3), 3),
                    "BatchPlan: histories are of mode Sessions, but the interactions have no sessions");
}

TEST_CASE("BatchPlan: sessions share a query's weight among them, and the first may weigh less") {
  // One query with sessions of 1, 2 and 4 positives, one with a single session of 2.
  const std::vector<Row> queries{0, 0, 0, 0, 0, 0, 0, 1, 1}, items{0, 1, 2, 3, 4, 5, 6, 7, 8},
      sessions{0, 1, 1, 2, 2, 2, 2, 0, 0};
  const Interactions interactions(queries, items, std::nullopt, 2, 9, std::nullopt, sessions);
  BatchSpec spec = with_history(HistoryMode::kSessions, 2, 10);
  spec.query_balance = 1;
  spec.first_session_weight = 0.5;
  BatchPlan plan(interactions, spec, 3);
  std::map<Row, double> weight;  // of each item, whose number is that of its pair; one batch holds all
  Batch batch;
  plan.write(0, 0, batch);
  REQUIRE(plan.batches_per_epoch() == 1);
  for (std::size_t p = 0; p < batch.positive_columns.size(); ++p)
    weight[batch.candidates[static_cast<std::size_t>(batch.positive_columns[p])]] =
        static_cast<double>(batch.positive_weights[p]);
  const double total = 0.5 + 1 + 1 + 0.5;
  for (const auto& [item, wanted] :
       std::map<Row, double>{{0, 0.5}, {1, 0.5}, {2, 0.5}, {3, 0.25}, {6, 0.25}, {7, 0.25}, {8, 0.25}})
    CHECK(weight[item] == Approx(wanted / total));
  spec.first_session_weight = 0;
  CHECK_THROWS_WITH(BatchPlan(interactions, spec, 3),
                    "BatchPlan: first_session_weight is 0, but must be a finite number above 0");
}

TEST_CASE("BatchPlan: windows give each positive what lies before it in the window, and short queries everything") {
  const Index max_length = GENERATE(1, 4, 100);
  const auto interactions = walks(30, 20);
  BatchPlan plan(interactions, with_history(HistoryMode::kWindows, 1, max_length), 3);
  const auto batches = epoch_of(plan, 1);
  CHECK(pairs_of(batches) == pairs_of(interactions));
  std::map<Row, std::size_t> empty;
  for (const Batch& batch : batches)
    for (const SeenRow& row : rows_of(batch)) {
      REQUIRE(row.items.size() == 1);
      const auto all = interactions.positives().of(row.query);
      std::vector<Row> with = row.past;
      with.push_back(row.items[0]);
      CHECK(std::search(all.begin(), all.end(), with.begin(), with.end()) != all.end());
      CHECK(std::ssize(row.past) <= max_length);
      empty[row.query] += row.past.empty();
    }
  for (const auto& [query, count] : empty) CHECK(count == 1);  // the first positive alone knows nothing
}

TEST_CASE("BatchPlan: a history of others has none of the row's items, newest last, at most max_length") {
  const Index group_size = GENERATE(1, 3, 16), max_length = GENERATE(1, 4, 100);
  const auto interactions = walks(30, 20);
  BatchPlan plan(interactions, with_history(HistoryMode::kOthers, group_size, max_length), 3);
  for (const Batch& batch : epoch_of(plan, 0))
    for (const SeenRow& row : rows_of(batch)) {
      std::vector<Row> wanted;
      for (const Row item : interactions.positives().of(row.query))
        if (std::find(row.items.begin(), row.items.end(), item) == row.items.end()) wanted.push_back(item);
      if (std::ssize(wanted) > max_length) wanted.erase(wanted.begin(), wanted.end() - max_length);
      CHECK(row.past == wanted);
    }
}

TEST_CASE("BatchPlan: given lists take the place of the positives, weights go along") {
  const auto interactions = walks(3, 20);
  const std::vector<std::int64_t> offsets{0, 4, 4, 6};
  const std::vector<Row> items{1, 2, 3, 4, 19, 5};
  const std::vector<float> weights{1, 2, 3, 4, 5, 6};
  const ItemLists lists{offsets, items, weights};
  BatchPlan plan(interactions, with_history(HistoryMode::kOthers, 2, 3), 3, &lists);
  for (const Batch& batch : epoch_of(plan, 0)) {
    REQUIRE(batch.histories.weights.size() == batch.histories.items.size());
    for (std::size_t p = 0; p < batch.histories.items.size(); ++p) {
      const auto place = std::find(items.begin(), items.end(), batch.histories.items[p]) - items.begin();
      CHECK(batch.histories.weights[p] == weights[static_cast<std::size_t>(place)]);
    }
    for (const SeenRow& row : rows_of(batch)) {
      if (row.query == 1) CHECK(row.past.empty());
      for (const Row item : row.past) CHECK(std::find(row.items.begin(), row.items.end(), item) == row.items.end());
    }
  }
  const auto make = [&](HistoryMode mode, const ItemLists& given) {
    BatchPlan(interactions, with_history(mode, 1, 3), 3, &given);
  };
  CHECK_THROWS_WITH(make(HistoryMode::kBefore, lists), "BatchPlan: lists are given, but histories are not those of mode Others");
  const std::vector<Row> outside{1, 2, 3, 4, 20, 5};
  CHECK_THROWS_WITH(make(HistoryMode::kOthers, {offsets, outside, weights}),
                    "BatchPlan: history items[4] is 20, but must be in [0, 20)");
  CHECK_THROWS_WITH(make(HistoryMode::kOthers, {std::span(offsets).first(3), items, weights}),
                    "BatchPlan: size of history offsets is 3, but must equal number of lists + 1, which is 4");
}

TEST_CASE("BatchPlan: rows know the number of their first pair") {
  const auto interactions = skewed(200, 20, 30, false);
  BatchPlan plan(interactions, with_history(HistoryMode::kNone, 1, 3), 3);
  std::set<Row> pairs;
  for (const Batch& batch : epoch_of(plan, 0)) {
    CHECK(batch.histories.lengths.empty());
    for (const Row pair : batch.pairs) pairs.insert(pair);
  }
  CHECK(pairs == std::set<Row>(interactions.pairs().begin(), interactions.pairs().end()));
}

TEST_CASE("BatchPlan: refuses windows of groups and histories without length") {
  const auto interactions = walks(3, 20);
  const auto make = [&](HistoryMode mode, Index group_size, Index max_length) {
    BatchPlan(interactions, with_history(mode, group_size, max_length), 3);
  };
  CHECK_THROWS_WITH(make(HistoryMode::kWindows, 2, 3), "BatchPlan: group_size is 2, but must be 1 where histories are windows");
  CHECK_THROWS_WITH(make(HistoryMode::kOthers, 2, 0), "BatchPlan: max_length is 0, but must be at least 1");
}
