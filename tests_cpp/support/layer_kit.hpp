#pragma once
// What every layer must do, whatever it computes. A layer's own test calls check_layer for its sizes and adds what only it knows.
#include <cstring>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/gradcheck.hpp"

namespace twotower::test {

/// Everything that one forward and backward of `rows` rows needs, with the same numbers each time.
template <class Scalar>
struct LayerRun {
  Matrix<Scalar> x, y, cache, dy, dx, parameters, dparameters;

  template <class Layer>
  LayerRun(const Layer& layer, Index rows)
      : x(random_matrix<Scalar>(rows, layer.in_width(), 11)),
        y(rows, layer.out_width()),
        cache(rows, layer.cache_width()),
        dy(random_matrix<Scalar>(rows, layer.out_width(), 13)),
        dx(rows, layer.in_width()),
        parameters(random_matrix<Scalar>(1, layer.parameter_count(), 12)),
        dparameters(Matrix<Scalar>::Zero(1, layer.parameter_count())) {}

  template <class Layer>
  void step(const Layer& layer, const nn::Pass& pass) {
    layer.template forward<Scalar>(parameters.data(), x, y, cache, pass);
    layer.template backward<Scalar>(parameters.data(), x, cache, dy, dx, dparameters.data(), pass);
  }
};

template <class Scalar>
bool same_bytes(const Matrix<Scalar>& a, const Matrix<Scalar>& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         (a.size() == 0 || std::memcmp(a.data(), b.data(), sizeof(Scalar) * static_cast<std::size_t>(a.size())) == 0);
}

/// Largest |a - b| / max(1, |b|).
template <class A, class B>
double distance(const Matrix<A>& a, const Matrix<B>& b) {
  if (b.size() == 0) return 0;
  const Matrix<double> wanted = b.template cast<double>();
  return ((a.template cast<double>() - wanted).array() / wanted.array().abs().max(1.0)).abs().maxCoeff();
}

/// What sums of `terms` float products may differ by; the condition of the layer itself goes into `factor`.
inline double float_tolerance(Index terms, double factor = 1) {
  return factor * std::numeric_limits<float>::epsilon() * static_cast<double>(4 + terms);
}

/// A matrix inside one that is 16 columns wider and full of sevens, which must stay.
template <class Scalar>
struct Framed {
  static constexpr Index kExtra = 16;
  Matrix<Scalar> whole;
  Index before, width;

  Framed(const Matrix<Scalar>& inner, Index columns_before)
      : whole(Matrix<Scalar>::Constant(inner.rows(), inner.cols() + kExtra, Scalar(7))),
        before(columns_before),
        width(inner.cols()) {
    view() = inner;
  }

  RowMap<Scalar> view() { return {whole.data() + before, whole.rows(), width, Eigen::OuterStride<>(whole.cols())}; }

  bool frame_is_whole() const {
    return (whole.leftCols(before).array() == 7).all() && (whole.rightCols(kExtra - before).array() == 7).all();
  }
};

/// One step on views that start `before` columns into their rows; nothing beside them may change.
template <class Layer>
LayerRun<float> framed_step(const Layer& layer, Index rows, const nn::Pass& pass, Index before) {
  LayerRun<float> run(layer, rows);
  Framed<float> x(run.x, before), y(run.y, before), cache(run.cache, before), dy(run.dy, before), dx(run.dx, before);
  RowMap<float> y_view = y.view(), cache_view = cache.view(), dx_view = dx.view();
  layer.template forward<float>(run.parameters.data(), x.view(), y_view, cache_view, pass);
  layer.template backward<float>(run.parameters.data(), x.view(), cache_view, dy.view(), dx_view, run.dparameters.data(), pass);
  CHECK((x.frame_is_whole() && y.frame_is_whole() && cache.frame_is_whole() && dy.frame_is_whole() && dx.frame_is_whole()));
  run.y = y_view;
  run.dx = dx_view;
  return run;
}

/// Rows that lie apart give what rows side by side give, and the same bytes wherever in memory they start.
template <class Layer>
void check_views(const Layer& layer, Index rows, const nn::Pass& pass, double tolerance) {
  LayerRun<float> plain(layer, rows);
  plain.step(layer, pass);
  const LayerRun<float> framed = framed_step(layer, rows, pass, 0);
  CHECK(distance(framed.y, plain.y) < tolerance);
  CHECK(distance(framed.dx, plain.dx) < tolerance);
  CHECK(distance(framed.dparameters, plain.dparameters) < tolerance);
  for (const Index before : {1, 2, 3, 4, 8, 13}) {
    const LayerRun<float> shifted = framed_step(layer, rows, pass, before);
    CHECK(same_bytes(shifted.y, framed.y));
    CHECK(same_bytes(shifted.dx, framed.dx));
    CHECK(same_bytes(shifted.dparameters, framed.dparameters));
  }
}

/// Two blocks, the second with its first_row, give what one block gives; parameter gradients add up.
template <class Layer>
void check_blocks(const Layer& layer, Index rows, nn::Pass pass, double tolerance) {
  LayerRun<double> whole(layer, rows), parts(layer, rows);
  whole.step(layer, pass);
  const Index first = pass.first_row;
  for (const auto& [begin, count] : {std::pair<Index, Index>{0, rows / 3}, {rows / 3, rows - rows / 3}}) {
    pass.first_row = first + begin;
    const auto block = [begin = begin, count = count](Matrix<double>& m) { return m.middleRows(begin, count); };
    layer.template forward<double>(parts.parameters.data(), block(parts.x), block(parts.y), block(parts.cache), pass);
    layer.template backward<double>(parts.parameters.data(), block(parts.x), block(parts.cache), block(parts.dy), block(parts.dx),
                                    parts.dparameters.data(), pass);
  }
  CHECK(distance(parts.y, whole.y) < tolerance);
  CHECK(distance(parts.dx, whole.dx) < tolerance);
  CHECK(distance(parts.dparameters, whole.dparameters) < tolerance);
}

/// All of the above. condition: how much the layer may enlarge the rounding of its input, 1 for one that only adds and
/// multiplies.
template <class Layer>
void check_layer(const Layer& layer, Index rows, const nn::Pass& pass = {}, double condition = 1) {
  static_assert(nn::IsLayer<Layer>);
  INFO(std::string(Layer::kName) << " " << layer.in_width() << " -> " << layer.out_width() << ", rows " << rows);
  CHECK_NOTHROW(layer.check());
  CHECK(gradient_error(layer, rows, pass) < condition);
  if (rows > 0) CHECK(gradient_error(WrongInputGradient<Layer>{layer}, rows, pass) > 1000);
  if (layer.parameter_count() > 0) CHECK(gradient_error(WrongParameterGradient<Layer>{layer}, rows, pass) > 1000);

  const Index terms = rows + layer.in_width() + layer.out_width();
  LayerRun<float> single(layer, rows);
  LayerRun<double> exact(layer, rows);
  single.step(layer, pass);
  exact.step(layer, pass);
  CHECK(distance(single.y, exact.y) < float_tolerance(terms, condition));
  CHECK(distance(single.dx, exact.dx) < float_tolerance(terms, condition));
  CHECK(distance(single.dparameters, exact.dparameters) < float_tolerance(terms, condition));

  check_blocks(layer, rows, pass, condition * 1e-13 * static_cast<double>(terms));
  check_views(layer, rows, pass, float_tolerance(terms, condition));
  if (kCountsAllocations) CHECK(allocations_of([&] { single.step(layer, pass); }) == 0);
}

}  // namespace twotower::test
