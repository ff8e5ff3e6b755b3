#include "twotower/base/random.hpp"

#include <cmath>
#include <numbers>

namespace twotower {

double RandomStream::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));  // 1 - u is never 0
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

}  // namespace twotower
