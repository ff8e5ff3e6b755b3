#pragma once
// Bayesian matrix factorization of ratings: factors drawn from their posterior instead of one best fit.
#include <cstdint>

#include "twotower/base/parallel.hpp"
#include "twotower/base/sparse_rows.hpp"
#include "twotower/base/types.hpp"

namespace twotower::baselines {

/// A Markov chain whose states are the factors of queries and items.
///
/// rating ~ N(mean + query.item, 1 / noise precision); rows of a side ~ N(center, precision^-1) with a normal-Wishart prior of
/// strength 2 around 0 and `width` degrees of freedom around the identity; the noise precision has a flat gamma prior. A sweep
/// draws centers and precisions, the rows of items, then those of queries, then the noise. Every row has a random stream of its
/// own a sweep, so that the bytes do not depend on threads.
///
/// Source      Salakhutdinov, Mnih 2008, "Bayesian probabilistic matrix factorization using Markov chain Monte Carlo",
///             equations 11 to 14; the noise as in Gelman et al., "Bayesian data analysis", 2.6
/// Cost        a sweep: width^2 multiplications a rating for each side and width^3 / 3 a row; memory: the factors, and twice the
///             ratings
class GibbsSampler {
 public:
  /// Throws      invalid_argument for width below 1 and without a rating
  GibbsSampler(SparseRows ratings, Index width, std::uint64_t seed);

  /// Draws the next state.
  void sweep(const Threads& threads);

  double mean() const { return mean_; }
  double noise_precision() const { return noise_precision_; }
  const Matrix<float>& queries() const { return queries_; }
  const Matrix<float>& items() const { return items_; }

 private:
  struct Side;  // center and precision of the rows of a side

  Side draw_side(ConstRows<float> rows, std::uint64_t stream, const Threads& threads) const;
  void draw_rows(const SparseRows& ratings, ConstRows<float> others, const Side& side, std::uint64_t stream,
                 const Threads& threads, Rows<float> rows) const;
  double squared_error(const Threads& threads) const;

  SparseRows ratings_, of_item_;
  std::uint64_t seed_, sweeps_ = 0;
  double mean_ = 0, noise_precision_ = 1;
  Matrix<float> queries_, items_;
};

}  // namespace twotower::baselines
