#pragma once
// The last step of a list: less of the same.
#include <cstdint>
#include <span>
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"

namespace twotower::reranking {

/// At most `limit` items of a list have the same code; an item may have several codes, or none.
///
/// Shapes      offsets (items + 1)    codes (offsets.back()), in [0, num_codes)
struct Cap {
  std::span<const std::int64_t> offsets;
  std::span<const Row> codes;
  Index num_codes;
  Index limit;
};

/// Lists of candidates, one after the other.
///
/// Shapes      offsets (lists + 1)    items, scores (offsets.back()); a list has an item once
struct Candidates {
  std::span<const std::int64_t> offsets;
  std::span<const Row> items;
  std::span<const float> scores;
};

/// Picks from every list, one at a time, the item of the largest
///
///     trade_off * relevance - (1 - trade_off) * (largest dot product with an item picked before, 0 for the first)
///
/// among those that no cap forbids; equal ones: the first in the list. The relevance is the score, brought to [0, 1] by the
/// smallest and the largest of the list (1 where they are equal). Exact: every candidate is looked at for every place.
///
/// Shapes      vectors (items, width), of length 1 for cosines; width 0: nothing is alike
///             picked (lists, k), written: places in the list, -1 where nothing is left
/// Throws      invalid_argument for sizes, k below 1, trade_off outside [0, 1], values that are not finite; out_of_range for rows
/// Source      Carbonell, Goldstein 1998, "The use of MMR, diversity-based reranking for reordering documents"
/// Cost        for each place of a list: candidates x width multiplications
void diversify(const Candidates& candidates, ConstRows<float> vectors, std::span<const Cap> caps, double trade_off,
               const Threads& threads, Rows<Row> picked);

}  // namespace twotower::reranking
