#pragma once
// Retrieval once more: every score, a full sort, a walk past what must not come back. The oracle for every faster form.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include "twotower/base/types.hpp"
#include "twotower/retrieval/exclusions.hpp"

namespace twotower::test {

/// One rounding a step where the machine has FMA, two elsewhere, in ascending k.
inline float naive_score(const float* query, const float* item, Index width) {
  float score = 0;
  for (Index k = 0; k < width; ++k) {
#if defined(__FP_FAST_FMAF)
    score = std::fma(query[k], item[k], score);
#else
    score += query[k] * item[k];
#endif
  }
  return score;
}

struct RankedItems {
  Matrix<Row> rows;      // (queries, k)
  Matrix<float> scores;  // (queries, k)
};

inline RankedItems naive_top_k(const Matrix<float>& items, const Matrix<float>& queries, Index k,
                               const retrieval::Filters& filters = {}) {
  RankedItems out{Matrix<Row>::Constant(queries.rows(), k, -1),
                  Matrix<float>::Constant(queries.rows(), k, -std::numeric_limits<float>::infinity())};
  for (Index q = 0; q < queries.rows(); ++q) {
    std::vector<float> scores;
    for (Index i = 0; i < items.rows(); ++i)
      scores.push_back(naive_score(queries.row(q).data(), items.row(i).data(), items.cols()));
    std::vector<Row> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](Row a, Row b) { return scores[std::size_t(a)] > scores[std::size_t(b)]; });
    Index rank = 0;
    for (const Row row : order) {
      if (rank == k) break;
      if (filters.allowed && (*filters.allowed)[std::size_t(row)] == 0) continue;
      const auto names = [&](const std::optional<retrieval::ItemLists>& lists) {
        const auto list = lists->of(q);
        return std::find(list.begin(), list.end(), row) != list.end();
      };
      if ((filters.seen && names(filters.seen)) || (filters.denied && names(filters.denied))) continue;
      if (filters.listed && filters.listed->has(q) && !names(filters.listed)) continue;
      out.rows(q, rank) = row;
      out.scores(q, rank++) = scores[std::size_t(row)];
    }
  }
  return out;
}

}  // namespace twotower::test
