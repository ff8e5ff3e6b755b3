#pragma once
// Why this score: what each column and sequence of both sides adds to it.
#include <vector>

#include "twotower/model/two_tower.hpp"

namespace twotower::model {

/// Contributions of the parts of both sides to one score, in score units.
///
/// Where the parts of a tower are summed and nothing but L2Normalize follows (Dropout aside), a part's contribution is its share
/// of the product, <part, other vector> / (length x temperature): the shares of a side add up to the score without the bias.
/// Elsewhere it is what the score loses when the part is left out, and nothing adds up.
struct Explanation {
  std::vector<double> query, item;  // one a part: the inputs, then the sequences
  double bias = 0;                  // the item's
  bool query_exact = false, item_exact = false;
};

/// Each of `query` and `item` has one row.
template <class Scalar>
Explanation explain(const TwoTower<Scalar>& model, const SideData& queries, const TowerRows& query, const SideData& items,
                    const TowerRows& item);

}  // namespace twotower::model
