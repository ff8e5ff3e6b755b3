#pragma once
// Attention of one head over one sequence: the queries of its readers, each over the keys and values that it may see.
#include <cstdint>
#include <span>

#include "twotower/base/types.hpp"

namespace twotower::nn {

/// y_i = sum over j < m_i of p_ij v_j, p_i = softmax over j < m_i of dot(q_i, k_j) / sqrt(width); zeros where m_i is 0.
///
/// Shapes      queries, y (queries, width)    keys, values (keys, width)    lengths (queries): m_i, each from 0 to the number of
///             keys, in any order; without lengths m_i = i + 1    log_sums (queries): the logarithm of a softmax's denominator
///             scratch: CausalAttention::scratch_size values, best aligned to 64 bytes; nothing of it must be kept
/// Ensures     the bits of row i depend on query i and the keys and values before m_i alone, if those behind are finite
/// Cost        2 products of queries keys width / 2 terms forward and 5 backward, which computes p once more rather than keep it;
///             only the keys that some query of a tile of 12 sees take part
/// Source      Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1; p from log_sums: Dao et al. 2022, arXiv:2205.14135
template <class Scalar>
struct CausalAttention {
  Index width;                            ///< of the head
  std::span<const std::int32_t> lengths;  ///< or nothing

  /// Enough for forward and backward.
  static Index scratch_size(Index queries, Index keys, Index width);

  /// Writes y and log_sums, whose values lie log_sum_step apart.
  void forward(ConstRows<Scalar> queries, ConstRows<Scalar> keys, ConstRows<Scalar> values, Rows<Scalar> y, Scalar* log_sums,
               Index log_sum_step, Scalar* scratch) const;

  /// Writes dqueries, dkeys and dvalues. y and log_sums are what forward wrote.
  void backward(ConstRows<Scalar> queries, ConstRows<Scalar> keys, ConstRows<Scalar> values, ConstRows<Scalar> y,
                const Scalar* log_sums, Index log_sum_step, ConstRows<Scalar> dy, Rows<Scalar> dqueries, Rows<Scalar> dkeys,
                Rows<Scalar> dvalues, Scalar* scratch) const;

 private:
  Index length(Index query) const { return lengths.empty() ? query + 1 : lengths[static_cast<std::size_t>(query)]; }
};

}  // namespace twotower::nn
