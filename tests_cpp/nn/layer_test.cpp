#include "twotower/nn/layer.hpp"

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/gradcheck.hpp"

using twotower::ConstRows;
using twotower::Index;
using twotower::Matrix;
using twotower::RandomStream;
using twotower::Rows;
using twotower::nn::Pass;

namespace {

/// y = w x^2, value by value: the smallest layer with a parameter that one can differentiate in the head.
struct Squares {
  static constexpr std::string_view kName = "Squares";
  Index width;

  Index in_width() const { return width; }
  Index out_width() const { return width; }
  Index parameter_count() const { return 1; }
  Index cache_width() const { return 0; }
  void check() const {}

  template <class Scalar>
  void initialize(Scalar* parameters, RandomStream&) const {
    *parameters = 1;
  }
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar>, const Pass&) const {
    y = *parameters * x.array().square();
  }
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar>, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const Pass&) const {
    dx = 2 * *parameters * x.array() * dy.array();
    *dparameters += (x.array().square() * dy.array()).sum();
  }
};

/// Writes its parameter gradient where it should add it.
struct Overwriting : Squares {
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const Pass& pass) const {
    *dparameters = 0;
    Squares::backward<Scalar>(parameters, x, cache, dy, dx, dparameters, pass);
  }
};

/// Adds its input gradient where it should write it.
struct Adding : Squares {
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar>, ConstRows<Scalar> dy, Rows<Scalar> dx, Scalar*,
                const Pass&) const {
    dx.array() += 2 * *parameters * x.array() * dy.array();
  }
};

struct WithoutBackward {
  static constexpr std::string_view kName = "WithoutBackward";
};

}  // namespace

TEST_CASE("IsLayer: tells a layer from something else") {
  STATIC_REQUIRE(twotower::nn::IsLayer<Squares>);
  STATIC_REQUIRE_FALSE(twotower::nn::IsLayer<WithoutBackward>);
  STATIC_REQUIRE_FALSE(twotower::nn::IsLayer<int>);
}

TEST_CASE("gradient_error: passes the right gradient and no other") {
  const Index width = GENERATE(1, 5, 17), rows = GENERATE(1, 4);
  CHECK(twotower::test::gradient_error(Squares{width}, rows) < 1);
  CHECK(twotower::test::gradient_error(twotower::test::WrongInputGradient<Squares>{{width}}, rows) > 1000);
  CHECK(twotower::test::gradient_error(twotower::test::WrongParameterGradient<Squares>{{width}}, rows) > 1000);
  CHECK(twotower::test::gradient_error(Overwriting{{width}}, rows) > 1000);
  CHECK(twotower::test::gradient_error(Adding{{width}}, rows) > 1000);
}

TEST_CASE("allocations_of: notices what it should notice") {
  if (!twotower::test::kCountsAllocations) return;
  CHECK(twotower::test::allocations_of([] {}) == 0);
  // What nobody sees the compiler may leave out, allocation included.
  int* volatile seen = nullptr;
  float* volatile seen_values = nullptr;
  CHECK(twotower::test::allocations_of([&] {
          seen = new int;
          delete seen;
        }) == 1);
  CHECK(twotower::test::allocations_of([&] {
          Matrix<float> matrix(3, 4);
          seen_values = matrix.data();
        }) == 1);
}

TEST_CASE("Pass: by default nothing is trained and nothing is keyed") {
  const Pass pass;
  CHECK_FALSE(pass.training);
  CHECK(pass.seed == 0);
  CHECK(pass.step == 0);
  CHECK(pass.first_row == 0);
}
