#pragma once
// Sums over all rows of a table.
#include <Eigen/Core>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"

namespace twotower::baselines {

/// The sum over all rows of row' row, in double and in an order that the sizes alone decide.
///
/// Shapes      rows (n, width)    result (width, width), of which only the lower triangle is written, the rest 0
/// Cost        n width^2 multiplications; memory: width^2 doubles for every 1024 rows
Eigen::MatrixXd gram(ConstRows<float> rows, const Threads& threads);

/// The sum of all rows (width), likewise.
Eigen::VectorXd column_sums(ConstRows<float> rows);

}  // namespace twotower::baselines
