#pragma once
#include "twotower/nn/layer.hpp"

namespace twotower::nn {

/// All products of two fields: y = sum over f < g of e_f * e_g, value by value, where x = [e_1, e_2 ...] are the fields' vectors.
/// The sum of y's values is the second-order term of a factorization machine; under layers y is the pooling of a neural one.
///
/// Shapes      x, dx (n, fields width)    y, dy (n, width)    no parameters    cache (n, width): the sum of the fields
/// Cost        2 n fields width flops: each field times the sum of those before it
/// Source      Rendle 2010, "Factorization machines", equation 1 and lemma 3.1; He, Chua 2017, "Neural factorization machines",
///             arXiv:1708.05027, equation 3
struct FactorizationMachine {
  static constexpr std::string_view kName = "FactorizationMachine";
  Index fields = 0;
  Index width = 0;

  Index in_width() const { return fields * width; }
  Index out_width() const { return width; }
  Index parameter_count() const { return 0; }
  Index cache_width() const { return width; }
  void check() const;

  template <class Scalar>
  void initialize(Scalar*, RandomStream&) const {}

  /// Writes y and cache.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass& pass) const;

  /// Writes dx.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const Pass& pass) const;
};

}  // namespace twotower::nn
