#pragma once
// The contract of a layer. Read this page first; every other header of nn/ is an instance of it.
//
// A layer is a plain struct that holds its spec and nothing else. What it has learned (parameters), what it must remember from
// forward to backward (cache) and what it computes belong to the caller, so one layer object serves every thread at once.
//
//   in_width, out_width    values in a row of x and of y
//   parameter_count        values at `parameters` and at `dparameters`
//   cache_width            values in a row of `cache`
//   check                  throws std::invalid_argument if the spec makes no sense; Sequential calls it once, nothing calls it
//   later initialize             writes all parameters forward                y  = f(x; w)                    written   x (n, in)
//   y (n, out)   cache (n, cache_width) written backward               dx = d dot(y, dy) / dx          written   dy (n, out) dx
//   (n, in)   cache may be used up
//                          dw += d dot(y, dy) / dw         added to dparameters
//
// forward and backward are const, keep nothing, start no thread and never look at another row than the one they write (only
// dparameters sums over rows, in row order). They allocate nothing; Eigen's large matrix products are the exception. n may be 0.
// backward wants the same parameters, x, pass and cache that forward had. None of the views may overlap; rows may lie apart, the
// values of a row may not. Templates are instantiated for float (trains) and double (checks gradients) in the layer's source.
//
// A new layer: one header, one source, one test (tests_cpp/support/gradcheck.hpp judges it), one name in Sequential's variant.
#include <concepts>
#include <cstdint>
#include <string_view>

#include "twotower/base/random.hpp"
#include "twotower/base/types.hpp"

namespace twotower::nn {

/// What a layer may know about the pass in which it takes part. Nothing here depends on threads.
struct Pass {
  bool training = false;
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  Index first_row = 0;  ///< position of the block's first row in its batch
};

template <class L, class Scalar>
concept LayerOn = requires(const L& layer, const Scalar* parameters, Scalar* dparameters, const Matrix<Scalar>& in,
                           Matrix<Scalar>& out, RandomStream& random, const Pass& pass) {
  { L::kName } -> std::convertible_to<std::string_view>;
  { layer.in_width() } -> std::same_as<Index>;
  { layer.out_width() } -> std::same_as<Index>;
  { layer.parameter_count() } -> std::same_as<Index>;
  { layer.cache_width() } -> std::same_as<Index>;
  layer.check();
  layer.template initialize<Scalar>(dparameters, random);
  layer.template forward<Scalar>(parameters, in, out, out, pass);
  layer.template backward<Scalar>(parameters, in, out, in, out, dparameters, pass);
};

/// The contract above as the compiler can see it.
template <class L>
concept IsLayer = LayerOn<L, float> && LayerOn<L, double>;

}  // namespace twotower::nn
