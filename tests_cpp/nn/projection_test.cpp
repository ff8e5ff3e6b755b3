#include "twotower/nn/projection.hpp"

#include <limits>

#include "support/catch.hpp"
#include "support/layer_kit.hpp"
#include "support/naive.hpp"

using twotower::ConstRowMap;
using twotower::ConstRows;
using twotower::Index;
using twotower::Matrix;
using twotower::RandomStream;
using twotower::Row;
using twotower::Rows;
using twotower::RowVector;
using twotower::nn::Given;
using twotower::nn::Pass;
using twotower::nn::Projection;
using twotower::test::random_matrix;

namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr Index kEntities = 11;

/// Eleven rows, of which the third and the last are missing: one says so in its first value only, the other is all NaN.
Matrix<float> column(Index width) {
  Matrix<float> values = random_matrix<float>(kEntities, width, 21);
  values(2, 0) = kMissing;
  values.row(10).setConstant(kMissing);
  return values;
}

ConstRowMap<float> view(const Matrix<float>& values) {
  return {values.data(), values.rows(), values.cols(), Eigen::OuterStride<>(values.cols())};
}

/// Rows of a batch: every entity, some of them again.
std::vector<Row> batch(Index rows) {
  std::vector<Row> result;
  for (Index i = 0; i < rows; ++i) result.push_back(static_cast<Row>((i * 7 + 2) % kEntities));
  return result;
}

/// An encoder as a layer without inputs, so that the one checker judges encoders too.
template <class Encoder>
struct EncoderLayer {
  static constexpr std::string_view kName = "EncoderLayer";
  Encoder encoder;
  Matrix<float> values;

  Index in_width() const { return 0; }
  Index out_width() const { return encoder.width; }
  Index parameter_count() const { return encoder.parameter_count(); }
  Index cache_width() const { return 0; }

  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar>, const Pass&) const {
    y.setZero();
    encoder.template forward<Scalar>(parameters, view(values), batch(x.rows()), y);
  }
  template <class Scalar>
  void backward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar>, ConstRows<Scalar> dy, Rows<Scalar>, Scalar* dparameters,
                const Pass&) const {
    encoder.template backward<Scalar>(view(values), batch(x.rows()), dy, dparameters);
  }
};

template <class Encoder>
void check_gradient(const Encoder& encoder, const Matrix<float>& values, Index rows) {
  using Checked = EncoderLayer<Encoder>;
  const Checked layer{encoder, values};
  CHECK(twotower::test::gradient_error(layer, rows) < 1);
  CHECK(twotower::test::gradient_error(twotower::test::WrongParameterGradient<Checked>{layer}, rows) > 1000);
}

}  // namespace

TEST_CASE("Projection, Given: gradients agree with differences, sabotaged ones do not") {
  const Index in = GENERATE(1, 2, 17, 129), width = GENERATE(1, 3, 17), rows = GENERATE(0, 1, 5, 33, 130);
  check_gradient(Projection{in, width}, column(in), rows);
  check_gradient(Given{in}, column(in), rows);
}

TEST_CASE("Projection: agrees with plain loops at the edges of tiles") {
  const Index in = GENERATE(1, 3, 127, 128, 129, 257), width = GENERATE(1, 2, 17, 64);
  const Index rows = GENERATE(0, 1, 7, 128, 129, 300);
  const Projection encoder{in, width};
  const Matrix<float> values = column(in);
  const auto parameters = random_matrix<double>(1, encoder.parameter_count(), 1);
  const Matrix<double> w = parameters.leftCols(in * width).reshaped<Eigen::RowMajor>(in, width);
  const RowVector<double> start = parameters.middleCols(in * width, width), missing = parameters.rightCols(width);
  const std::vector<Row> entities = batch(rows);
  Matrix<double> y = Matrix<double>::Constant(rows, width, 100);
  encoder.forward<double>(parameters.data(), view(values), entities, y);
  const Matrix<double> wanted = twotower::test::naive::projection(w, start, missing, values, entities);
  CHECK(twotower::test::distance<double, double>(y.array() - 100, wanted) < 1e-13 * static_cast<double>(4 + in));

  Matrix<float> single = Matrix<float>::Zero(rows, width);
  const Matrix<float> parameters_single = parameters.cast<float>();
  encoder.forward<float>(parameters_single.data(), view(values), entities, single);
  CHECK(twotower::test::distance(single, wanted) < twotower::test::float_tolerance(in));
}

TEST_CASE("Projection: a value and a missing value done on paper") {
  // w = (1 2; 3 4), b = (10, 20), c = (7, 8). (5, 6) w + b = (5 + 18 + 10, 10 + 24 + 20) = (33, 54).
  // dy = (1, 2) there and (3, 4) where missing: dw = (5 10; 6 12), db = (1, 2), dc = (3, 4).
  const std::vector<double> parameters{1, 2, 3, 4, 10, 20, 7, 8};
  Matrix<float> values(2, 2);
  values << 5, 6, kMissing, 9;
  const std::vector<Row> rows{1, 0};
  Matrix<double> y = Matrix<double>::Constant(2, 2, 100), dy(2, 2);
  dy << 3, 4, 1, 2;
  Projection{2, 2}.forward<double>(parameters.data(), view(values), rows, y);
  CHECK(y == (Matrix<double>(2, 2) << 107, 108, 133, 154).finished());
  std::vector<double> dparameters(8, 100);
  Projection{2, 2}.backward<double>(view(values), rows, dy, dparameters.data());
  CHECK(dparameters == std::vector<double>{105, 110, 106, 112, 101, 102, 103, 104});
}

TEST_CASE("Projection: sees only the columns of its view, and only its slice of y") {
  const Matrix<float> wide = Matrix<float>::Constant(4, 10, 2);
  const ConstRowMap<float> values(wide.data() + 3, 4, 5, Eigen::OuterStride<>(10));
  Matrix<float> joined = Matrix<float>::Constant(3, 6, 100), parameters = Matrix<float>::Ones(1, 7 * 2);
  const std::vector<Row> rows{3, 0, 3};
  Projection{5, 2}.forward<float>(parameters.data(), values, rows, joined.middleCols(3, 2));
  Matrix<float> wanted = Matrix<float>::Constant(3, 6, 100);
  wanted.middleCols(3, 2).setConstant(100 + 5 * 2 + 1);
  CHECK(joined == wanted);
}

TEST_CASE("Projection: in whole tiles of 32 rows a row's bytes do not depend on its companions") {
  const Index in = GENERATE(3, 64, 300, 769), width = GENERATE(1, 17, 64);
  const Projection encoder{in, width};
  const Matrix<float> values = column(in), parameters = random_matrix<float>(1, encoder.parameter_count(), 1);
  const std::vector<Row> rows = batch(160);
  Matrix<float> whole = Matrix<float>::Zero(160, width);
  encoder.forward<float>(parameters.data(), view(values), rows, whole);
  for (Index i = 0; i < 160; i += 13) {
    const std::vector<Row> alone(32, rows[static_cast<std::size_t>(i)]);
    Matrix<float> y = Matrix<float>::Zero(32, width);
    encoder.forward<float>(parameters.data(), view(values), alone, y);
    CHECK(twotower::test::same_bytes<float>(y.row(i % 32), whole.row(i)));
  }
}

TEST_CASE("Given: a value and a missing value done on paper") {
  const std::vector<double> parameters{7, 8};
  Matrix<float> values(2, 2);
  values << 5, 6, kMissing, 9;
  const std::vector<Row> rows{1, 0, 1};
  Matrix<double> y = Matrix<double>::Constant(3, 2, 100), dy(3, 2);
  dy << 3, 4, 1, 2, 10, 20;
  Given{2}.forward<double>(parameters.data(), view(values), rows, y);
  CHECK(y == (Matrix<double>(3, 2) << 107, 108, 105, 106, 107, 108).finished());
  std::vector<double> dparameters(2, 100);
  Given{2}.backward<double>(view(values), rows, dy, dparameters.data());
  CHECK(dparameters == std::vector<double>{113, 124});
}

TEST_CASE("Projection, Given: start small, with b at zero") {
  const Projection projection{3, 500, 0.02};
  Matrix<float> parameters = Matrix<float>::Constant(1, projection.parameter_count(), 9);
  RandomStream random(1, twotower::Purpose::kInitialize);
  projection.initialize(parameters.data(), random);
  CHECK((parameters.middleCols(1500, 500).array() == 0).all());
  for (const Index first : {0, 500, 1000, 2000})  // 500 draws: standard error of the deviation 3.2 %
    CHECK(std::sqrt(parameters.middleCols(first, 500).array().square().mean()) == Approx(0.02).epsilon(0.15));
  Matrix<float> given = Matrix<float>::Constant(1, 500, 9);
  Given{500, 0.02}.initialize(given.data(), random);
  CHECK(std::sqrt(given.array().square().mean()) == Approx(0.02).epsilon(0.15));
}

TEST_CASE("Projection, Given: nothing is allocated in a second step") {
  if (!twotower::test::kCountsAllocations) return;
  const std::vector<Row> rows = batch(33);
  const Matrix<float> values = column(64), dy = Matrix<float>::Ones(33, 64);
  Matrix<float> y = Matrix<float>::Zero(33, 64), parameters = Matrix<float>::Zero(1, 66 * 64);
  const auto step = [&] {
    Projection{64, 64}.forward<float>(parameters.data(), view(values), rows, y);
    Projection{64, 64}.backward<float>(view(values), rows, dy, parameters.data());
    Given{64}.forward<float>(parameters.data(), view(values), rows, y);
    Given{64}.backward<float>(view(values), rows, dy, parameters.data());
  };
  step();
  CHECK(twotower::test::allocations_of(step) == 0);
}
