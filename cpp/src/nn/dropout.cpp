#include "twotower/nn/dropout.hpp"

#include <cmath>
#include <string>

#include "twotower/base/check.hpp"

namespace twotower::nn {
namespace {

constexpr unsigned kRowBits = 40;  // of the 64 bits of a stream's row key; the rest tells one Dropout of a model from another

}  // namespace

void Dropout::check() const {
  check_at_least(kName, "width", width, 1);
  check_positive(kName, "keep_probability", keep_probability);
  check_in_range(kName, "keep_probability", keep_probability, 0, 1);
  constexpr std::uint64_t kStreams = std::uint64_t{1} << (64 - kRowBits);
  if (stream >= kStreams) fail(kName, "stream is " + std::to_string(stream) + ", but must be below " + std::to_string(kStreams));
}

template <class Scalar>
void Dropout::forward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass& pass) const {
  if (!pass.training) {
    y = x;
    return;
  }
  const Scalar scale = static_cast<Scalar>(1 / keep_probability);
  const auto kept_below = static_cast<std::uint64_t>(std::llround(keep_probability * 0x1.0p32));
  for (Index row = 0; row < x.rows(); ++row) {
    const auto key = static_cast<std::uint64_t>(pass.first_row + row) | stream << kRowBits;
    RandomStream random(pass.seed, Purpose::kDropout, pass.step, key);
    std::uint64_t bits = 0;
    for (Index k = 0; k < width; ++k) {
      bits = k % 2 == 0 ? random.next() : bits << 32;  // a draw serves two values
      cache(row, k) = bits >> 32 < kept_below ? scale : Scalar(0);
    }
  }
  y = x.cwiseProduct(cache);
}

template <class Scalar>
void Dropout::backward(const Scalar*, ConstRows<Scalar>, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx, Scalar*,
                       const Pass& pass) const {
  if (pass.training)
    dx = dy.cwiseProduct(cache);
  else
    dx = dy;
}

// float trains, double checks gradients.
template void Dropout::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void Dropout::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>, const Pass&) const;
template void Dropout::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>, float*,
                                       const Pass&) const;
template void Dropout::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>, Rows<double>, double*,
                                        const Pass&) const;

}  // namespace twotower::nn
