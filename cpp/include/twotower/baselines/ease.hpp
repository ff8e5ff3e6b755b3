#pragma once
// The linear model of items that has a solution in closed form.
#include "twotower/base/parallel.hpp"
#include "twotower/base/sparse_rows.hpp"
#include "twotower/base/types.hpp"

namespace twotower::baselines {

/// The matrix B of zero diagonal that makes |X - X B|^2 + regularization |B|^2 smallest: B_ij = -P_ij / P_jj, P the inverse of
/// X'X + regularization I. In double.
///
/// Shapes      met (queries, items): X    weights (items, items), written: row i is what item i says for each item
/// Throws      invalid_argument for sizes and a regularization that is not above 0
/// Source      Steck 2019, "Embarrassingly shallow autoencoders for sparse data", equation 8
/// Cost        items^3 multiplications; memory: items^2 doubles beside the result
void ease(const SparseRows& met, double regularization, const Threads& threads, Rows<float> weights);

}  // namespace twotower::baselines
