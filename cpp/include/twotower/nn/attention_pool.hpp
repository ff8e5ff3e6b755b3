#pragma once
#include "twotower/nn/sequences.hpp"

namespace twotower::nn {

/// A weighted mean whose weights are found by attention: the newest element asks, every element answers. The target takes no
/// part, so that a query has one vector for all items. For a reader over x_0 ... x_n, where x_n is the newest element that weighs
/// anything and rows are multiplied from the left:
///
///     q = x_n W_q + q_0            s_j = q . (x_j W_k) / sqrt(width) + bias[min(n - j, max_length - 1)]
///     a_j = w_j exp(s_j) / sum_i w_i exp(s_i)               y = (sum_j a_j x_j) W_v
///     y = empty  if there is no such element
///
/// A weight is thus a log-weight in the softmax, and an element of weight 0 is left out altogether.
///
/// Shapes      see sequences.hpp    parameters [W_q, W_k, W_v (width, width), q_0 (width), bias (max_length), empty (width)]
/// Start       W_q and W_k as in Dense, W_v the identity, q_0 and bias 0, empty normal with deviation .01: with the small vectors
/// of
///             a new table it starts as the plain mean
/// Source      Bahdanau, Cho, Bengio 2015, arXiv:1409.0473 (attention); Vaswani et al. 2017, arXiv:1706.03762, equation 1 (the
///             scaled product); Liu et al. 2018, "STAMP" (the last click asks); Raffel et al. 2020, arXiv:1910.10683, section 2.1
///             (a learned bias for each distance)
/// Cost        q (W_k x_j) = (q W_k^T) x_j: 3 width^2 multiply-adds a reader and 2 width for each element that it sees; four
/// times
///             that with backward
struct AttentionPool {
  static constexpr std::string_view kName = "AttentionPool";
  Index width = 0;
  Index max_length = 0;  ///< distances from the newest element that have a bias of their own; older elements share the last

  Index parameter_count() const { return 3 * width * width + 2 * width + max_length; }
  void check() const;

  template <class Scalar>
  void initialize(Scalar* parameters, RandomStream& random) const;

  /// Writes y.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences, Rows<Scalar> y,
               std::vector<Scalar>& cache, const Pass& pass) const;

  /// Writes dpositions; adds to dparameters.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences, ConstRows<Scalar> dy,
                Rows<Scalar> dpositions, std::vector<Scalar>& cache, Scalar* dparameters, const Pass& pass) const;
};

}  // namespace twotower::nn
