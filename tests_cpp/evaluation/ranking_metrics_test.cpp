#include "twotower/evaluation/ranking_metrics.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "support/catch.hpp"
#include "twotower/base/random.hpp"

using namespace twotower;
using namespace twotower::evaluation;

namespace {

const std::vector<std::string> kAllNames{"hits", "hit_rate", "recall", "capped_recall", "precision", "ndcg", "mrr", "map"};

struct Case {
  Matrix<Row> ranked;
  std::vector<std::int64_t> offsets{0};
  std::vector<Row> items;
  std::vector<std::int64_t> counts;

  void add_relevant(const std::set<Row>& rows, std::int64_t unlisted = 0) {
    items.insert(items.end(), rows.begin(), rows.end());
    offsets.push_back(static_cast<std::int64_t>(items.size()));
    counts.push_back(static_cast<std::int64_t>(rows.size()) + unlisted);
  }

  Matrix<double> run(const std::vector<std::string>& names, const std::vector<Index>& cutoffs, int threads = 1) const {
    Matrix<double> values = Matrix<double>::Constant(static_cast<Index>(names.size()), ranked.rows(), -1);
    ranking_metrics(ranked, {offsets, items, counts}, ranking_measures(names, cutoffs), Threads(threads), values);
    return values;
  }

  double run_one(const std::string& name, Index cutoff) const { return run({name}, {cutoff})(0, 0); }
};

/// The definitions once more, one query and one metric at a time.
double naive_metric(const std::string& name, const std::vector<Row>& list, const std::set<Row>& relevant, double count, int k) {
  double hits = 0, gain = 0, ideal = 0, precisions = 0, reciprocal = 0;
  for (int rank = 1; rank <= k; ++rank) {
    if (rank <= count) ideal += 1 / std::log2(rank + 1.0);
    if (!relevant.count(list[static_cast<std::size_t>(rank) - 1])) continue;
    hits += 1;
    gain += 1 / std::log2(rank + 1.0);
    precisions += hits / rank;
    if (hits == 1) reciprocal = 1.0 / rank;
  }
  if (name == "hits") return hits;
  if (name == "hit_rate") return hits > 0;
  if (name == "recall") return hits / count;
  if (name == "capped_recall") return hits / std::min<double>(k, count);
  if (name == "precision") return hits / k;
  if (name == "ndcg") return gain / ideal;
  if (name == "mrr") return reciprocal;
  return precisions / std::min<double>(k, count);
}

/// Lists without repeats, some of them short; between 1 and `most` relevant items a query, some not listed.
Case random_case(Index queries, Index length, Index catalogue, Index most, std::uint64_t seed) {
  Case c;
  c.ranked.resize(queries, length);
  for (Index q = 0; q < queries; ++q) {
    RandomStream random(seed, Purpose::kTest, 0, static_cast<std::uint64_t>(q));
    std::vector<Row> rows(static_cast<std::size_t>(catalogue));
    std::iota(rows.begin(), rows.end(), 0);
    random.shuffle(std::span(rows));
    const Index shown = random.below(4) == 0 ? random.below(length + 1) : length;
    for (Index r = 0; r < length; ++r) c.ranked(q, r) = r < shown ? rows[static_cast<std::size_t>(r)] : -1;
    std::set<Row> relevant;
    for (Index i = random.below(most); i >= 0; --i) relevant.insert(static_cast<Row>(random.below(catalogue)));
    c.add_relevant(relevant, random.below(3) == 0 ? random.below(5) : 0);
  }
  return c;
}

}  // namespace

TEST_CASE("ranking_metrics: a list done on paper") {
  // Relevant: 2, 5, 8 and one outside the catalogue, so R = 4. The list 7 5 1 2 9 hits at ranks 2 and 4.
  Case c;
  c.ranked.resize(1, 5);
  c.ranked << 7, 5, 1, 2, 9;
  c.add_relevant({2, 5, 8}, 1);
  CHECK(c.run_one("hits", 5) == 2);
  CHECK(c.run_one("hits", 3) == 1);
  CHECK(c.run_one("hit_rate", 1) == 0);
  CHECK(c.run_one("hit_rate", 2) == 1);
  CHECK(c.run_one("hit_rate", 5) == 1);
  CHECK(c.run_one("recall", 5) == Approx(2.0 / 4));
  CHECK(c.run_one("recall", 2) == Approx(1.0 / 4));
  CHECK(c.run_one("capped_recall", 5) == Approx(2.0 / 4));
  CHECK(c.run_one("capped_recall", 2) == Approx(1.0 / 2));  // min(2, 4) = 2
  CHECK(c.run_one("precision", 5) == Approx(2.0 / 5));
  CHECK(c.run_one("mrr", 5) == Approx(1.0 / 2));
  CHECK(c.run_one("mrr", 1) == 0);
  // Gains 1 / log2(3) + 1 / log2(5) = 0.63093 + 0.43068 = 1.06161. Ideal at 5: min(5, 4) = 4 hits, 1 + 0.63093 + 0.5 + 0.43068 =
  // 2.56161. 1.06161 / 2.56161 = 0.41443. At 3: 0.63093 / (1 + 0.63093 + 0.5) = 0.29608.
  CHECK(c.run_one("ndcg", 5) == Approx(0.41443).epsilon(1e-4));
  CHECK(c.run_one("ndcg", 3) == Approx(0.29608).epsilon(1e-4));
  // Precision at the hits: 1/2 at rank 2 and 2/4 at rank 4, so 1 / min(5, 4) = 0.25; at 3: 0.5 / 3.
  CHECK(c.run_one("map", 5) == Approx(0.25));
  CHECK(c.run_one("map", 3) == Approx(0.5 / 3));
}

TEST_CASE("ranking_metrics: a perfect list has exactly 1, nothing found exactly 0, a short list loses nothing") {
  Case c;
  c.ranked.resize(4, 3);
  c.ranked << 4, 6, 1,  // all relevant
      0, 2, 3,          // none
      6, -1, -1,        // one relevant, nothing else shown
      -1, -1, -1;       // nothing shown
  for (int q = 0; q < 4; ++q) c.add_relevant(q == 2 ? std::set<Row>{6} : std::set<Row>{1, 4, 6});
  const std::vector<Index> cutoffs(kAllNames.size(), 3);
  const Matrix<double> values = c.run(kAllNames, cutoffs);
  const Matrix<double> expected = (Matrix<double>(8, 4) << 3, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1.0 / 3, 0, 1, 0,
                                   1, 0, 1, 0, 1, 0, 1, 0, 1, 0)
                                      .finished();
  CHECK(values == expected);
}

TEST_CASE("ranking_metrics: agrees with loops over the definitions") {
  const Index queries = GENERATE(0, 1, 2, 63, 64, 65, 300), length = GENERATE(1, 2, 20);
  const Case c = random_case(queries, length, 60, 25, 1);
  std::vector<std::string> names;
  std::vector<Index> cutoffs;
  for (const auto& name : kAllNames)
    for (const Index k : std::set<Index>{1, (length + 1) / 2, length}) names.push_back(name), cutoffs.push_back(k);
  const Matrix<double> values = c.run(names, cutoffs);
  double worst = 0;
  for (Index q = 0; q < queries; ++q) {
    const auto u = static_cast<std::size_t>(q);
    const std::set<Row> relevant(c.items.begin() + c.offsets[u], c.items.begin() + c.offsets[u + 1]);
    const std::vector<Row> list(c.ranked.row(q).data(), c.ranked.row(q).data() + length);
    for (std::size_t m = 0; m < names.size(); ++m)
      worst = std::max(worst, std::abs(values(static_cast<Index>(m), q) - naive_metric(names[m], list, relevant,
                                                                                       static_cast<double>(c.counts[u]),
                                                                                       static_cast<int>(cutoffs[m]))));
  }
  CHECK(worst <= 20 * std::numeric_limits<double>::epsilon());
}

TEST_CASE("ranking_metrics: rows that differ by a power of two are told apart") {
  // 7 and 70,000 are relevant; rows 2^k away from them share low bits with them, and must not count.
  Case lists{Matrix<Row>(1, 16), {0}, {}, {}};
  lists.ranked << 7 + 64, 7 + 128, 7 + 1024, 7 + 4096, 7 + 8192, 7, 7 + 65536, 70000 - 4096, 70000 - 64, 70000, 70000 + 4096,
      70000 + 65536, 7 + (1 << 20), 7 + (1 << 30), 2147483647, -1;
  lists.add_relevant({7, 70000});
  CHECK(lists.run_one("hits", 5) == 0);
  CHECK(lists.run_one("hits", 9) == 1);
  CHECK(lists.run_one("hits", 16) == 2);
  CHECK(lists.run_one("mrr", 16) == Approx(1.0 / 6));
}

TEST_CASE("ranking_metrics: bounds, and what may only grow with the cut-off does") {
  const Case c = random_case(300, 30, 50, 20, 2);
  for (const auto& name : kAllNames) {
    std::vector<Index> cutoffs(30);
    std::iota(cutoffs.begin(), cutoffs.end(), 1);
    const Matrix<double> values = c.run(std::vector<std::string>(30, name), cutoffs);
    CHECK((values.array() >= 0).all());
    if (name != "hits") CHECK((values.array() <= 1).all());
    if (name == "hits" || name == "hit_rate" || name == "recall" || name == "mrr")
      CHECK((values.bottomRows(29).array() >= values.topRows(29).array()).all());
  }
}

TEST_CASE("ranking_metrics: a query alone and in a batch, any number of threads: the same bytes") {
  const Case c = random_case(1003, 10, 40, 9, 3);
  const std::vector<Index> cutoffs{10, 1, 5, 10, 7, 10, 10, 3};
  const Matrix<double> all = c.run(kAllNames, cutoffs);
  for (const int threads : {2, 7}) CHECK(c.run(kAllNames, cutoffs, threads) == all);
  for (const Index q : {0, 63, 64, 1002}) {
    const auto u = static_cast<std::size_t>(q);
    Case alone;
    alone.ranked = c.ranked.row(q);
    alone.add_relevant({c.items.begin() + c.offsets[u], c.items.begin() + c.offsets[u + 1]});
    alone.counts[0] = c.counts[u];
    CHECK(alone.run(kAllNames, cutoffs) == all.col(q));
  }
}

TEST_CASE("ranking_metrics: mistakes are named") {
  Case c;
  c.ranked.resize(2, 3);
  c.ranked << 4, 6, 1, 0, 2, 3;
  c.add_relevant({1, 4});
  c.add_relevant({2});
  const auto run = [&](Index k = 3) { return c.run({"ndcg"}, {k}); };
  CHECK_NOTHROW(run());
  CHECK_NOTHROW(c.run({}, {}));
  CHECK_THROWS_WITH(run(4), "ranking_metrics: cutoffs[0] is 4, but must be at most 3, the length of the lists; rank more items");
  CHECK_THROWS_WITH(c.run({"nDCG"}, {3}),
                    "ranking_metrics: metrics[0] is \"nDCG\", but must be one of hits, hit_rate, recall, "
                    "capped_recall, precision, ndcg, mrr, map");
  SECTION("a query without relevant items") {
    c.offsets = {0, 2, 2};
    c.items.pop_back();
    c.counts[1] = 0;
    CHECK_THROWS_WITH(run(), "ranking_metrics: query 1 has no relevant items, so it has no metrics; leave it out");
    c.counts[1] = 1;  // one that is not in the catalogue: a miss
    CHECK(run()(0, 1) == 0);
  }
  SECTION("counts below what is listed") {
    c.counts[0] = 1;
    CHECK_THROWS_WITH(run(),
                      "ranking_metrics: relevant_counts[0] is 1, but must be at least 2, the number of relevant items listed");
  }
  SECTION("relevant items out of order, repeated or negative") {
    c.items = {4, 1, 2};
    CHECK_THROWS_WITH(run(),
                      "ranking_metrics: relevant_items of query 0 do not ascend; sort each query's items and drop repeats");
    c.items = {1, 1, 2};
    CHECK_THROWS_WITH(run(),
                      "ranking_metrics: relevant_items of query 0 do not ascend; sort each query's items and drop repeats");
    c.items = {1, 4, -1};
    CHECK_THROWS_WITH(run(), "ranking_metrics: relevant_items of query 1 start with -1, but must be item rows");
  }
  SECTION("an item twice in a list") {
    c.ranked(0, 2) = 4;
    CHECK_THROWS_WITH(run(), "ranking_metrics: ranked holds a relevant item of query 0 twice, but items must not repeat");
  }
  SECTION("sizes") {
    c.counts.pop_back();
    CHECK_THROWS_WITH(run(), "ranking_metrics: the size of relevant_counts is 1, but must equal the number of lists, which is 2");
    c.counts.push_back(1);
    c.offsets.pop_back();
    CHECK_THROWS_WITH(
        run(), "ranking_metrics: the size of relevant_offsets is 2, but must equal the number of lists plus 1, which is 3");
    c.offsets.push_back(9);
    CHECK_THROWS_WITH(run(), "ranking_metrics: relevant_offsets runs from 0 to 9, but must run from 0 to 3");
  }
}
