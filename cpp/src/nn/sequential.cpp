#include "twotower/nn/sequential.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "twotower/base/check.hpp"
#include "twotower/nn/columns.hpp"

namespace twotower::nn {
namespace {

std::string title(std::size_t position, const Layer& layer) {
  return "layer " + std::to_string(position) + " (" + std::string(name_of(layer)) + ")";
}

/// A Dropout and where it stands, for instance "layer 0 (Dropout) in left of layer 2 (Parallel)".
struct Found {
  std::uint64_t stream;
  std::string title;
};

void find_dropouts(std::span<const Layer> layers, const std::string& where, std::vector<Found>& found) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string here = title(i, layers[i]) + where;
    if (const auto* dropout = std::get_if<Dropout>(&layers[i])) found.push_back({dropout->stream, here});
    if (const auto* residual = std::get_if<Residual>(&layers[i]))
      find_dropouts(residual->layers().layers(), " in " + here, found);
    if (const auto* parallel = std::get_if<Parallel>(&layers[i])) {
      find_dropouts(parallel->left().layers(), " in left of " + here, found);
      find_dropouts(parallel->right().layers(), " in right of " + here, found);
    }
  }
}

// Two of one number would drop the same columns at the same time.
void check_streams(std::span<const Layer> layers) {
  std::vector<Found> found;
  find_dropouts(layers, "", found);
  for (std::size_t i = 0; i < found.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (found[i].stream == found[j].stream)
        fail(Sequential::kName, "stream of " + found[i].title + " is " + std::to_string(found[i].stream) +
                                    ", but must differ from that of " + found[j].title + "; number the Dropouts of a model");
}

}  // namespace

std::string_view name_of(const Layer& layer) {
  return std::visit([](const auto& plain) { return std::remove_cvref_t<decltype(plain)>::kName; }, layer);
}

Sequential::Sequential(Index width, std::vector<Layer> layers) : width_(width), layers_(std::move(layers)) {
  check();
  Index widest = 0;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    Place place{};
    const bool last = i + 1 == layers_.size();
    std::visit(
        [&](const auto& layer) {
          static_assert(IsLayer<std::remove_cvref_t<decltype(layer)>>);
          place = {parameter_count_, 0, 0, layer.in_width(), layer.out_width(), layer.cache_width()};
          parameter_count_ += layer.parameter_count();
        },
        layers_[i]);
    if (!last) {
      place.output = std::exchange(cache_width_, cache_width_ + whole_lines(place.out_width));
      widest = std::max(widest, place.out_width);
    }
    place.cache = std::exchange(cache_width_, cache_width_ + whole_lines(place.cache_width));
    places_.push_back(place);
  }
  for (std::size_t i = 0; i < gradients_.size() && i + 1 < layers_.size(); ++i)
    gradients_[i] = std::exchange(cache_width_, cache_width_ + whole_lines(widest));
}

Index Sequential::out_width() const { return places_.empty() ? width_ : places_.back().out_width; }

void Sequential::check() const {
  check_at_least(kName, "width", width_, 1);
  Index width = width_;
  for (std::size_t i = 0; i < layers_.size(); ++i)
    std::visit(
        [&](const auto& layer) {
          layer.check();
          if (layer.in_width() != width)
            check_size(kName, "in_width of " + title(i, layers_[i]), layer.in_width(),
                       i == 0 ? "width" : "out_width of " + title(i - 1, layers_[i - 1]), width);
          width = layer.out_width();
        },
        layers_[i]);
  check_streams(layers_);
}

template <class Scalar>
void Sequential::initialize(Scalar* parameters, RandomStream& random) const {
  for (std::size_t i = 0; i < layers_.size(); ++i)
    std::visit([&](const auto& layer) { layer.template initialize<Scalar>(parameters + places_[i].parameters, random); },
               layers_[i]);
}

template <class Scalar>
void Sequential::forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache,
                         const Pass& pass) const {
  using In = ConstRowMap<Scalar>;
  using Out = RowMap<Scalar>;
  if (layers_.empty()) y = x;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Place& place = places_[i];
    const In in = i == 0 ? slice<In>(x, 0, x.cols()) : slice<In>(cache, places_[i - 1].output, place.in_width);
    Out out = i + 1 == layers_.size() ? slice<Out>(y, 0, y.cols()) : slice<Out>(cache, place.output, place.out_width);
    Out own = slice<Out>(cache, place.cache, place.cache_width);
    std::visit([&](const auto& layer) { layer.template forward<Scalar>(parameters + place.parameters, in, out, own, pass); },
               layers_[i]);
  }
}

template <class Scalar>
void Sequential::backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy,
                          Rows<Scalar> dx, Scalar* dparameters, const Pass& pass) const {
  using In = ConstRowMap<Scalar>;
  using Out = RowMap<Scalar>;
  if (layers_.empty()) dx = dy;
  for (std::size_t i = layers_.size(); i-- > 0;) {
    const Place& place = places_[i];
    const In in = i == 0 ? slice<In>(x, 0, x.cols()) : slice<In>(cache, places_[i - 1].output, place.in_width);
    const In dy_layer =
        i + 1 == layers_.size() ? slice<In>(dy, 0, dy.cols()) : slice<In>(cache, gradients_[i % 2], place.out_width);
    Out dx_layer = i == 0 ? slice<Out>(dx, 0, dx.cols()) : slice<Out>(cache, gradients_[(i - 1) % 2], place.in_width);
    Out own = slice<Out>(cache, place.cache, place.cache_width);
    std::visit(
        [&](const auto& layer) {
          layer.template backward<Scalar>(parameters + place.parameters, in, own, dy_layer, dx_layer,
                                          dparameters + place.parameters, pass);
        },
        layers_[i]);
  }
}

// float trains, double checks gradients.
template void Sequential::initialize<float>(float*, RandomStream&) const;
template void Sequential::initialize<double>(double*, RandomStream&) const;
template void Sequential::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void Sequential::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>, const Pass&) const;
template void Sequential::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>, float*,
                                          const Pass&) const;
template void Sequential::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>, Rows<double>,
                                           double*, const Pass&) const;

}  // namespace twotower::nn
