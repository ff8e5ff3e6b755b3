#include "twotower/nn/causal_attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "twotower/nn/ordered_product.hpp"
#include "twotower/nn/ordered_sum.hpp"

namespace twotower::nn {
namespace {

constexpr Index kQueries = 12;  // of a tile: what one tile of ordered_product holds in float on AVX-512
constexpr int kLanes = 16;      // rows of scores are handled in whole lanes, so that bits do not depend on where they lie

template <class Scalar>
using Lanes = Eigen::Map<Eigen::Array<Scalar, 1, kLanes>>;

Index whole_lanes(Index count) { return (count + kLanes - 1) / kLanes * kLanes; }

/// A matrix cut into panels where scratch has room; moves scratch on.
template <class Scalar>
const Scalar* packed(ConstRows<Scalar> matrix, Scalar*& scratch) {
  pack(matrix.data(), matrix.outerStride(), 1, matrix.rows(), matrix.cols(), scratch);
  return std::exchange(scratch, scratch + packed_size(matrix.rows(), matrix.cols()));
}

template <class Scalar>
const Scalar* packed_transpose(ConstRows<Scalar> matrix, Scalar*& scratch) {
  pack(matrix.data(), 1, matrix.outerStride(), matrix.cols(), matrix.rows(), scratch);
  return std::exchange(scratch, scratch + packed_size(matrix.cols(), matrix.rows()));
}

/// scores (count), of which m are real, become exp(scale * scores - what makes them sum to 1), zeros behind m; returns the
/// logarithm of the denominator.
template <class Scalar>
Scalar softmax(Scalar* scores, Index m, Index count, Scalar scale) {
  const Index padded = whole_lanes(m);
  std::fill(scores + m, scores + padded, -std::numeric_limits<Scalar>::infinity());
  Eigen::Array<Scalar, 1, kLanes> highest = Lanes<Scalar>(scores);
  for (Index j = kLanes; j < padded; j += kLanes) highest = highest.template max<Eigen::PropagateNaN>(Lanes<Scalar>(scores + j));
  const Scalar most = scale * highest.template maxCoeff<Eigen::PropagateNaN>();
  for (Index j = 0; j < padded; j += kLanes) Lanes<Scalar>(scores + j) = (scale * Lanes<Scalar>(scores + j) - most).exp();
  std::fill(scores + m, scores + count, Scalar(0));  // not even the least that exp gives
  Eigen::Array<Scalar, 1, kLanes> sums = Lanes<Scalar>(scores);
  for (Index j = kLanes; j < padded; j += kLanes) sums += Lanes<Scalar>(scores + j);
  const Scalar sum = ordered_sum(sums), inverse = 1 / sum;
  for (Index j = 0; j < padded; j += kLanes) Lanes<Scalar>(scores + j) *= inverse;
  return most + std::log(sum);
}

}  // namespace

template <class Scalar>
Index CausalAttention<Scalar>::scratch_size(Index queries, Index keys, Index width) {
  // Backward: keys and values transposed, keys, queries and dy packed, two matrices of scores.
  return 2 * packed_size(width, keys) + packed_size(keys, width) + 2 * packed_size(queries, width) +
         2 * queries * in_panels(keys);
}

template <class Scalar>
void CausalAttention<Scalar>::forward(ConstRows<Scalar> queries, ConstRows<Scalar> keys, ConstRows<Scalar> values, Rows<Scalar> y,
                                      Scalar* log_sums, Index log_sum_step, Scalar* scratch) const {
  const Index step = in_panels(keys.rows());
  const Scalar scale = 1 / std::sqrt(static_cast<Scalar>(width));
  const Scalar *keys_across = packed_transpose<Scalar>(keys, scratch), *packed_values = packed<Scalar>(values, scratch);
  for (Index first = 0; first < queries.rows(); first += kQueries) {
    const Index rows = std::min(kQueries, queries.rows() - first);
    Index seen = 0;
    for (Index i = 0; i < rows; ++i) seen = std::max(seen, length(first + i));
    ordered_product<Scalar>(queries.row(first).data(), queries.outerStride(), 1, rows, keys_across, width, 0, width,
                            in_panels(seen), scratch, step);
    for (Index i = 0; i < rows; ++i) {
      const Index m = length(first + i);
      Scalar* scores = scratch + i * step;
      if (m == 0) std::fill_n(scores, seen, Scalar(0));
      log_sums[(first + i) * log_sum_step] = m == 0 ? 0 : softmax(scores, m, in_panels(seen), scale);
    }
    ordered_product<Scalar>(scratch, step, 1, rows, packed_values, keys.rows(), 0, seen, width, y.row(first).data(),
                            y.outerStride());
  }
}

// With s = scale q k^T:  dv = p^T dy,  ds_ij = p_ij (dot(dy_i, v_j) - dot(dy_i, y_i)),  dq = scale ds k,  dk = scale ds^T q.
template <class Scalar>
void CausalAttention<Scalar>::backward(ConstRows<Scalar> queries, ConstRows<Scalar> keys, ConstRows<Scalar> values,
                                       ConstRows<Scalar> y, const Scalar* log_sums, Index log_sum_step, ConstRows<Scalar> dy,
                                       Rows<Scalar> dqueries, Rows<Scalar> dkeys, Rows<Scalar> dvalues, Scalar* scratch) const {
  const Index n = queries.rows(), step = in_panels(keys.rows());
  const Scalar scale = 1 / std::sqrt(static_cast<Scalar>(width));
  const Scalar *keys_across = packed_transpose<Scalar>(keys, scratch), *values_across = packed_transpose<Scalar>(values, scratch);
  const Scalar *packed_keys = packed<Scalar>(keys, scratch), *packed_queries = packed<Scalar>(queries, scratch),
               *packed_dy = packed<Scalar>(dy, scratch);
  Scalar *p = scratch, *ds = scratch + n * step;
  for (Index first = 0; first < n; first += kQueries) {
    const Index rows = std::min(kQueries, n - first);
    Index seen = 0;
    for (Index i = 0; i < rows; ++i) seen = std::max(seen, length(first + i));
    ordered_product<Scalar>(queries.row(first).data(), queries.outerStride(), 1, rows, keys_across, width, 0, width,
                            in_panels(seen), p + first * step, step);
    ordered_product<Scalar>(dy.row(first).data(), dy.outerStride(), 1, rows, values_across, width, 0, width, in_panels(seen),
                            ds + first * step, step);
    for (Index i = first; i < first + rows; ++i) {
      const Index m = length(i);
      const Scalar log_sum = log_sums[i * log_sum_step], inner = ordered_sum(dy.row(i).array() * y.row(i).array());
      for (Index j = 0; j < m; j += kLanes) {
        Lanes<Scalar> share(p + i * step + j), change(ds + i * step + j);
        share = (scale * share - log_sum).exp();
        change = scale * share * (change - inner);
      }
      std::fill(p + i * step + m, p + (i + 1) * step, Scalar(0));
      std::fill(ds + i * step + m, ds + (i + 1) * step, Scalar(0));
    }
    ordered_product<Scalar>(ds + first * step, step, 1, rows, packed_keys, keys.rows(), 0, seen, width,
                            dqueries.row(first).data(), dqueries.outerStride());
  }
  for (Index first = 0, reader = 0; first < keys.rows(); first += kQueries) {
    const Index rows = std::min(kQueries, keys.rows() - first);
    while (reader < n && length(reader) <= first) ++reader;  // queries that see none of the tile's keys, if they come first
    ordered_product<Scalar>(p + reader * step + first, 1, step, rows, packed_dy, n, reader, n - reader, width,
                            dvalues.row(first).data(), dvalues.outerStride());
    ordered_product<Scalar>(ds + reader * step + first, 1, step, rows, packed_queries, n, reader, n - reader, width,
                            dkeys.row(first).data(), dkeys.outerStride());
  }
}

// float trains, double checks gradients.
template struct CausalAttention<float>;
template struct CausalAttention<double>;

}  // namespace twotower::nn
