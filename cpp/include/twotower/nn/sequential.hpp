#pragma once
#include <array>
#include <span>
#include <variant>
#include <vector>

#include "twotower/nn/activations.hpp"
#include "twotower/nn/cross.hpp"
#include "twotower/nn/dense.hpp"
#include "twotower/nn/dropout.hpp"
#include "twotower/nn/factorization_machine.hpp"
#include "twotower/nn/layer.hpp"
#include "twotower/nn/normalization.hpp"
#include "twotower/nn/parallel.hpp"
#include "twotower/nn/residual.hpp"
#include "twotower/nn/row_sum.hpp"
#include "twotower/nn/slice.hpp"

namespace twotower::nn {

/// Residual and Parallel hold Sequentials, and so layers again.
using Layer = std::variant<Dense, Relu, Gelu, LayerNorm, L2Normalize, Dropout, CrossNetwork, FactorizationMachine, Slice, RowSum,
                           Residual, Parallel>;

/// "Dense", "Relu" ...
std::string_view name_of(const Layer& layer);

/// One layer after the other; itself a layer. Without layers the identity.
///
/// Shapes      x, dx (n, width)    y, dy (n, out_width of the last layer)
///             parameters: those of layer 0, then those of layer 1 ...
///             cache (n, cache_width): what each layer but the last puts out, two gradients between layers, each layer's own
///             cache, as column slices. Every slice starts at a multiple of 16 columns, so that rows start on cache lines if the
///             block does.
class Sequential {
 public:
  static constexpr std::string_view kName = "Sequential";

  /// Throws std::invalid_argument if a layer's spec makes no sense, if widths do not fit, for instance
  /// "Sequential: in_width of layer 1 (Relu) is 32, but must equal out_width of layer 0 (Dense), which is 64", or if two Dropouts
  /// have the same stream, however deep they lie.
  explicit Sequential(Index width, std::vector<Layer> layers = {});

  Index in_width() const { return width_; }
  Index out_width() const;
  Index parameter_count() const { return parameter_count_; }
  Index cache_width() const { return cache_width_; }
  void check() const;

  std::span<const Layer> layers() const { return layers_; }

  template <class Scalar>
  void initialize(Scalar* parameters, RandomStream& random) const;

  /// Writes y and cache.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass& pass) const;

  /// Writes dx; adds to dparameters.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const Pass& pass) const;

 private:
  /// Where a layer's things start: its parameters in the arena, its output and its own cache among the cache's columns.
  struct Place {
    Index parameters;
    Index output;
    Index cache;
    Index in_width;
    Index out_width;
    Index cache_width;
  };

  Index width_;
  std::vector<Layer> layers_;
  std::vector<Place> places_;
  std::array<Index, 2> gradients_{};  ///< first columns; the gradient of layer i's output lies in slice i % 2
  Index parameter_count_ = 0;
  Index cache_width_ = 0;
};

}  // namespace twotower::nn
