#pragma once
#include "twotower/nn/columns.hpp"
#include "twotower/nn/layer.hpp"

namespace twotower::nn {

/// Products of features, one degree more a layer: x_{l+1} = x_0 * (x_l W_l + b_l) + x_l for l = 0 ... depth - 1, where * goes
/// value by value; x_0 = x, y = x_depth. rank 0 has full matrices W, rank r has W = u v with thin factors, 2 r / width of the
/// parameters and of the cost.
///
/// Shapes      x, y, dx, dy (n, width)
///             parameters, for each l: [W (width, width), b (width)], with a rank [u (width, rank), v (rank, width), b (width)]
///             cache (n, cache_width), slices of whole lines: x_l W_l + b_l for all l; the gradient that reaches x_0 past the
///             products, then x_l for l from 1; with a rank x_l u_l for all l
/// Start       W, u, v uniform as Dense's w, b zero
/// Cost        2 n depth width^2 flops forward, with a rank 4 n depth width rank; twice that backward
/// Source      Wang et al. 2021, "DCN V2: Improved deep & cross network and practical lessons for web-scale learning to rank
///             systems", arXiv:2008.13535, equations 1 and 2; theirs is the column form, W here is their W transposed
struct CrossNetwork {
  static constexpr std::string_view kName = "CrossNetwork";
  Index width = 0;
  Index depth = 1;
  Index rank = 0;  ///< in [0, width]; 0: full matrices

  Index in_width() const { return width; }
  Index out_width() const { return width; }
  Index parameter_count() const { return depth * layer_size(); }
  Index cache_width() const { return depth * (2 * whole_lines(width) + whole_lines(rank)); }
  void check() const;

  template <class Scalar>
  void initialize(Scalar* parameters, RandomStream& random) const;

  /// Writes y and cache.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass& pass) const;

  /// Writes dx; adds to dparameters. Uses up the cache.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const Pass& pass) const;

  /// Parameters of one of the `depth` layers.
  Index layer_size() const { return (rank == 0 ? width * width : 2 * width * rank) + width; }
};

}  // namespace twotower::nn
