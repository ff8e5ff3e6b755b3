#pragma once
// Matrix factorization of implicit feedback by alternating least squares.
#include <cstdint>

#include "twotower/base/parallel.hpp"
#include "twotower/base/sparse_rows.hpp"
#include "twotower/base/types.hpp"

namespace twotower::baselines {

/// The loss of factors x (queries) and y (items), for positives of weight a:
///
///     sum over positives of a (1 - x.y)^2 + unobserved_weight * sum over all pairs of (x.y)^2
///         + sum over rows of regularization * n^frequency_exponent * |row|^2,
///
/// n = the sum of the row's weights + unobserved_weight * rows of the other side. Exponent 0 regularizes every row alike.
///
/// Source      Hu, Koren, Volinsky 2008, "Collaborative filtering for implicit feedback datasets"; Rendle, Krichene, Zhang, Koren
///             2021, "Revisiting the performance of iALS on item recommendation benchmarks", equations 5 and 10
struct AlsSpec {
  double regularization;
  double unobserved_weight;
  double frequency_exponent;
};

/// Gives every row of one side its best factors while those of the other side stay.
///
/// The Gram matrix of the other side is summed up in double; each row's system in float32, by Cholesky.
///
/// Shapes      positives (n, m)    fixed (m, width)    solved (n, width), written
/// Requires    positive weights, finite factors
/// Throws      invalid_argument for sizes and options; NumericalError where a system is not positive definite: the regularization
///             is too small
/// Cost        flops: width^2 a positive and width^3 / 3 a row; memory a thread: width^2 + 256 width floats
void solve_rows(const SparseRows& positives, ConstRows<float> fixed, const AlsSpec& spec, const Threads& threads,
                Rows<float> solved);

/// The factors of both sides, and the alternation between them.
class ImplicitAls {
 public:
  /// Items start from normal numbers of standard deviation `deviation` / root of width, a stream an item; queries need no start.
  ImplicitAls(SparseRows positives, Index width, double deviation, const AlsSpec& spec, std::uint64_t seed);

  /// Solves for the queries, then for the items. The same bytes for any number of threads.
  void sweep(const Threads& threads);

  const Matrix<float>& queries() const { return queries_; }
  const Matrix<float>& items() const { return items_; }

 private:
  SparseRows positives_, of_item_;
  AlsSpec spec_;
  Matrix<float> queries_, items_;
};

}  // namespace twotower::baselines
