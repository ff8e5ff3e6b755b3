#pragma once
// In-batch sampled softmax. Sees vectors and columns, never a tower.
#include <span>
#include <vector>

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
/// Rows go in panels that fit the second-level cache, each forward and backward at once: no matrix of rows x columns.
///
/// Shapes      queries, dqueries (rows, width)   items, ditems (columns, width)   bias, dbias (columns), both empty without a
/// bias Writes      dqueries, ditems, dbias: the gradients of the returned loss Threads     sums over rows run in eight fixed
/// groups of panels, added up in a fixed tree: the same bytes for any thread count Cost        6 rows columns width flops Source
/// Covington, Adams, Sargin 2016; Yi et al. 2019 (RecSys), section 3, with the weights of BatchPlan
template <class Scalar>
class SoftmaxLoss {
 public:
  explicit SoftmaxLoss(double temperature);

  double operator()(ConstRows<Scalar> queries, ConstRows<Scalar> items, std::span<const Scalar> bias,
                    const SoftmaxTargets& targets, Rows<Scalar> dqueries, Rows<Scalar> ditems, std::span<Scalar> dbias,
                    const Threads& threads);

 private:
  /// Sums of a run of panels, and what one panel needs.
  struct Group {
    Matrix<Scalar> scaled, scores, ditems;  // (panel, width) queries / temperature; (panel, columns); (columns, width)
    RowVector<Scalar> dbias;                // (columns)
    std::vector<Scalar> positives;          // of one row: scores without log_weights
    double loss = 0;
  };

  double panel(Index begin, Index end, ConstRows<Scalar> queries, ConstRows<Scalar> items, std::span<const Scalar> bias,
               const SoftmaxTargets& targets, Rows<Scalar> dqueries, Group& group) const;

  Scalar inverse_temperature_;
  // Kept between steps, so that a step of the size of the last one allocates nothing.
  std::vector<Group> groups_;
};

}  // namespace twotower::train
