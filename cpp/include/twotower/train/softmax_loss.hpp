#pragma once
// In-batch sampled softmax. Sees vectors and columns, never a tower.
#include <memory>
#include <span>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"

namespace twotower::train {

/// Which candidates are the positives of which row, and how candidates weigh.
struct SoftmaxTargets {
  std::span<const std::int64_t> offsets;    // (rows + 1) into the positives
  std::span<const Row> positive_columns;    // (positives)
  std::span<const float> positive_weights;  // (positives) usually summing to 1
  std::span<const float> log_weights;       // (columns) >= 0
};

/// With s_rc = <u_r, v_c> / temperature + b_c and P_r the positives of row r, a positive p of row r costs
///
///   weight_p * -log( exp(s_rp) / (sum over P_r of exp(s_rc) + sum over the other c of exp(s_rc + log_weight_c)) ).
///
/// A row's own positives weigh 1: they are among the candidates because the row is there (the positive itself would be an
/// accidental hit), so that how often an item is there says nothing about them. Weighed like strangers, by 1 / P of BatchPlan,
/// the rare ones among them count too much; softmax_loss_test measures what is left against the full softmax.
///
/// Rows go in chunks of at most 128, each forward and backward at once: no matrix of rows x columns. Columns go in strips that
/// fit the first-level cache, twice: scores and exponentials with the largest score so far, and, when the denominators are known,
/// both gradients. Scores lie transposed, a column's rows side by side, so that a lane of a register is a row.
///
/// Shapes      queries, dqueries (rows, width)    items, ditems (columns, width)    bias, dbias (columns), both empty without one
/// Writes      dqueries, ditems, dbias: the gradients of the returned loss
/// Threads     sums over rows run in up to eight groups of rows, by their number alone, added up in order: the same bytes for any
///             thread count
/// Cost        6 rows columns width flops, at about two thirds of the FMA roof from 256 rows of width 64 on (Zen 5, one core)
/// Source      Covington, Adams, Sargin 2016; Yi et al. 2019 (RecSys), section 3, with the weights of BatchPlan; denominators as
///             the columns come: Milakov, Gimelshein 2018, arXiv:1805.02867
template <class Scalar>
class SoftmaxLoss {
 public:
  explicit SoftmaxLoss(double temperature);
  SoftmaxLoss(SoftmaxLoss&&) noexcept;
  ~SoftmaxLoss();

  double operator()(ConstRows<Scalar> queries, ConstRows<Scalar> items, std::span<const Scalar> bias,
                    const SoftmaxTargets& targets, Rows<Scalar> dqueries, Rows<Scalar> ditems, std::span<Scalar> dbias,
                    const Threads& threads);

 private:
  struct Memory;

  Scalar inverse_temperature_;
  std::unique_ptr<Memory> memory_;  // kept between steps, so that a step of the size of the last one allocates nothing
};

}  // namespace twotower::train
