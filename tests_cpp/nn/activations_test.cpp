#include "twotower/nn/activations.hpp"

#include <limits>

#include "support/catch.hpp"
#include "support/layer_kit.hpp"
#include "support/naive.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::nn::Gelu;
using twotower::nn::Relu;

namespace {

template <class Layer>
Matrix<double> value_of(const Layer& layer, const Matrix<double>& x) {
  Matrix<double> y(x.rows(), x.cols()), cache(x.rows(), layer.cache_width());
  layer.template forward<double>(nullptr, x, y, cache, {});
  return y;
}

}  // namespace

TEST_CASE("Relu, Gelu: do what every layer must") {
  const Index width = GENERATE(1, 2, 3, 17, 64), rows = GENERATE(0, 1, 5, 33);
  twotower::test::check_layer(Relu{width}, rows);
  twotower::test::check_layer(Gelu{width}, rows);
}

TEST_CASE("Relu: cuts at zero, where its gradient is zero") {
  Matrix<double> x(1, 4), y(1, 4), cache(1, 0), dy(1, 4), dx(1, 4);
  x << -2, 0, 3, -0.0;
  dy << 1, 1, 1, 1;
  const Relu layer{4};
  layer.forward<double>(nullptr, x, y, cache, {});
  layer.backward<double>(nullptr, x, cache, dy, dx, nullptr, {});
  CHECK(y == (Matrix<double>(1, 4) << 0, 0, 3, 0).finished());
  CHECK(dx == (Matrix<double>(1, 4) << 0, 0, 1, 0).finished());
}

TEST_CASE("Relu, Gelu: a NaN stays a NaN, wherever it stands") {
  const Index place = GENERATE(0, 7, 16, 18);
  Matrix<double> x = Matrix<double>::Ones(1, 19);
  x(0, place) = std::numeric_limits<double>::quiet_NaN();
  const Matrix<double> relu = value_of(Relu{19}, x), gelu = value_of(Gelu{19}, x);
  for (Index k = 0; k < 19; ++k) {
    CHECK(std::isnan(relu(0, k)) == (k == place));
    CHECK(std::isnan(gelu(0, k)) == (k == place));
  }
}

TEST_CASE("Gelu: is the tanh form, close to x Phi(x), and passes large values") {
  Matrix<double> x(1, 2001);
  for (Index k = 0; k < x.cols(); ++k) x(0, k) = 0.01 * static_cast<double>(k - 1000);
  const Matrix<double> y = value_of(Gelu{x.cols()}, x);
  double from_exact = 0;
  for (Index k = 0; k < x.cols(); ++k) {
    CHECK(y(0, k) == Approx(twotower::test::naive::tanh_gelu(x(0, k))).margin(1e-15));
    from_exact = std::max(from_exact, std::abs(y(0, k) - twotower::test::naive::exact_gelu(x(0, k))));
  }
  CHECK(from_exact < 5e-4);
  CHECK(from_exact > 1e-4);  // or else it is another form than the header says
  const Matrix<double> large = value_of(Gelu{2}, (Matrix<double>(1, 2) << 100, -100).finished());
  CHECK(large(0, 0) == 100);
  CHECK(large(0, 1) == 0);
}

TEST_CASE("Relu, Gelu: refuse a width below one") {
  CHECK_THROWS_WITH(Relu{0}.check(), "Relu: width is 0, but must be at least 1");
  CHECK_THROWS_WITH(Gelu{-3}.check(), "Gelu: width is -3, but must be at least 1");
}
