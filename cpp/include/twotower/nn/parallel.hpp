#pragma once
#include <memory>

#include "twotower/nn/layer.hpp"

namespace twotower::nn {

class Sequential;  // holds Parallels, so it cannot be known here; make two from "twotower/nn/sequential.hpp"

/// y = [f(x), g(x)]: two Sequentials of the same in_width, their outputs side by side. One without layers hands x on.
///
/// Shapes      x, dx (n, width)    y, dy (n, out_width of left + out_width of right)
///             parameters: those of left, then those of right
///             cache (n, cache_width), slices of whole lines: left's, right's, the gradient of x that comes through right
class Parallel {
 public:
  static constexpr std::string_view kName = "Parallel";

  Parallel(Sequential left, Sequential right);

  Index in_width() const;
  Index out_width() const;
  Index parameter_count() const;
  Index cache_width() const;
  void check() const;

  const Sequential& left() const { return *left_; }
  const Sequential& right() const { return *right_; }

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
  std::shared_ptr<const Sequential> left_, right_;  // copies share what none of them can change
};

}  // namespace twotower::nn
