#pragma once
// e^x for a register at a time.
#include <cmath>

#include "twotower/base/registers.hpp"

namespace twotower {

/// e^x lane by lane, for x up to 88; NaN stays NaN, +inf becomes NaN. Below about -87.3, where floats get denormal, it may be 0.
///
/// Source      e^x = 2^n e^r with n = x / log 2 rounded and |r| <= log(2) / 2; the polynomial for e^r is that of expf in
///             S. Moshier's Cephes library. Within 2 units in the last place for float (exponential_test).
/// Cost        about 15 instructions a register for float; the C library, lane by lane, for double
inline Register<float> exponential(Register<float> x) {
  typedef int Integers __attribute__((vector_size(kRegisterBytes)));
  // Added to a small number, it leaves in the lowest bits of the sum that number, rounded, plus the bias of a float's exponent.
  constexpr float kRound = 0x1.8p23F + 127;
  x = x < -88.0F ? Register<float>{} - 88.0F : x;
  const Register<float> shifted = x * 1.44269504F + kRound;
  const Register<float> n = shifted - kRound;
  const Register<float> r = (x - n * 0.693359375F) - n * -2.12194440e-4F;  // log 2 in two parts, the first exact in a product
  Register<float> p = r * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + (r + 1.0F);
  return p * (Register<float>)((Integers)shifted << 23);
}

inline Register<double> exponential(Register<double> x) {
  for (int lane = 0; lane < kRegisterLanes<double>; ++lane) x[lane] = std::exp(x[lane]);
  return x;
}

}  // namespace twotower
