#include "twotower/retrieval/score_pairs.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "twotower/base/check.hpp"
#include "twotower/retrieval/score_panel.hpp"

namespace twotower::retrieval {
namespace {

constexpr Index kPairBlock = 4096;
constexpr std::size_t kTogether = 8;

void check_scores(std::span<const float> scores, std::span<const Row> query_rows, std::span<const Row> item_rows) {
  const auto bad = std::find_if(scores.begin(), scores.end(), [](float score) { return !std::isfinite(score); });
  if (bad == scores.end()) [[likely]]
    return;
  const auto i = static_cast<std::size_t>(bad - scores.begin());
  fail("score_pairs", "scores[" + std::to_string(i) + "] (queries[" + std::to_string(query_rows[i]) + "] with items[" +
                          std::to_string(item_rows[i]) + "]) is " +
                          (std::isnan(scores[i]) ? "nan"
                           : scores[i] > 0       ? "inf"
                                                 : "-inf") +
                          ", but must be a finite number; look for one of these in both vectors");
}

}  // namespace

void score_pairs(ConstRows<float> queries, ConstRows<float> items, std::span<const Row> query_rows,
                 std::span<const Row> item_rows, const Threads& threads, std::span<float> scores) {
  const auto pairs = static_cast<Index>(query_rows.size());
  check_size("score_pairs", "the width of queries", queries.cols(), "the width of items", items.cols());
  check_size("score_pairs", "the size of item_rows", static_cast<Index>(item_rows.size()), "the size of query_rows", pairs);
  check_size("score_pairs", "the size of scores", static_cast<Index>(scores.size()), "the size of query_rows", pairs);
  check_rows("score_pairs", "query_rows", query_rows, queries.rows());
  check_rows("score_pairs", "item_rows", item_rows, items.rows());
  const Index width = queries.cols();
  const auto query = [&](std::size_t i) { return queries.row(query_rows[i]).data(); };
  const auto item = [&](std::size_t i) { return items.row(item_rows[i]).data(); };

  threads.for_blocks(pairs, kPairBlock, [&](Index begin, Index end, Index) {
    auto i = static_cast<std::size_t>(begin);
    // One chain waits for its own sums; several pairs side by side fill the wait.
    for (; i + kTogether <= static_cast<std::size_t>(end); i += kTogether) {
      const float *q[kTogether], *v[kTogether];
      float sums[kTogether] = {};
      for (std::size_t j = 0; j < kTogether; ++j) q[j] = query(i + j), v[j] = item(i + j);
      for (Index k = 0; k < width; ++k)
        for (std::size_t j = 0; j < kTogether; ++j) sums[j] = multiply_add(q[j][k], v[j][k], sums[j]);
      for (std::size_t j = 0; j < kTogether; ++j) scores[i + j] = sums[j] + 0.0f;  // 0, never -0, as top_k has it
    }
    for (; i < static_cast<std::size_t>(end); ++i) scores[i] = dot_chain(query(i), item(i), width) + 0.0f;
  });
  check_scores(scores, query_rows, item_rows);
}

}  // namespace twotower::retrieval
