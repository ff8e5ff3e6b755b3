#pragma once
#include <memory>

#include "twotower/nn/layer.hpp"

namespace twotower::nn {

class Sequential;  // holds Residuals, so it cannot be known here; make one from "twotower/nn/sequential.hpp"

/// y = x + f(x), where f is a Sequential whose in_width and out_width are the same.
///
/// Shapes      x, y, dx, dy (n, width)    parameters and cache: those of f
/// Source      He et al. 2016, "Deep residual learning for image recognition", arXiv:1512.03385, equation 1
class Residual {
 public:
  static constexpr std::string_view kName = "Residual";

  explicit Residual(Sequential layers);

  Index in_width() const;
  Index out_width() const;
  Index parameter_count() const;
  Index cache_width() const;
  void check() const;

  const Sequential& layers() const { return *layers_; }

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
  std::shared_ptr<const Sequential> layers_;  // copies share what none of them can change
};

}  // namespace twotower::nn
