#include "twotower/nn/cross.hpp"

#include <cmath>
#include <string>
#include <type_traits>

#include "twotower/base/check.hpp"

namespace twotower::nn {
namespace {

/// What one of the layers has learned, or its gradient; Scalar may be const.
template <class Scalar>
struct Parts {
  using Values = Matrix<std::remove_const_t<Scalar>>;
  using Vector = RowVector<std::remove_const_t<Scalar>>;
  template <class Plain>
  using Map = Eigen::Map<std::conditional_t<std::is_const_v<Scalar>, const Plain, Plain>>;

  Parts(const CrossNetwork& network, Scalar* parameters, Index l)
      : begin(parameters + l * network.layer_size()),
        w(begin, network.width, network.rank == 0 ? network.width : 0),
        u(begin, network.width, network.rank),
        v(begin + u.size(), network.rank, network.width),
        b(begin + w.size() + u.size() + v.size(), network.width) {}

  Scalar* begin;
  Map<Values> w, u, v;  // w or u and v; what is not there is empty
  Map<Vector> b;
};

/// The slices of the cache.
template <class Scalar>
struct Slices {
  const CrossNetwork& network;
  Rows<Scalar>& cache;

  Index line() const { return whole_lines(network.width); }
  /// x_l W_l + b_l.
  RowMap<Scalar> product(Index l) const { return slice<RowMap<Scalar>>(cache, l * line(), network.width); }
  /// x_l; the caller has x_0, and its slice takes the gradient that reaches it past the products.
  template <class View = RowMap<Scalar>>
  View x(Index l) const {
    return slice<View>(cache, (network.depth + l) * line(), network.width);
  }
  /// x_l u_l.
  RowMap<Scalar> thin(Index l) const {
    return slice<RowMap<Scalar>>(cache, 2 * network.depth * line() + l * whole_lines(network.rank), network.rank);
  }
};

template <class Values>
void glorot(Values& values, RandomStream& random) {
  const double limit = std::sqrt(6.0 / static_cast<double>(values.rows() + values.cols()));
  for (Index k = 0; k < values.size(); ++k) values.data()[k] = static_cast<Values::Scalar>(limit * (2 * random.uniform() - 1));
}

}  // namespace

void CrossNetwork::check() const {
  check_at_least(kName, "width", width, 1);
  check_at_least(kName, "depth", depth, 1);
  check_at_least(kName, "rank", rank, 0);
  if (rank > width)
    fail(kName, "rank is " + std::to_string(rank) + ", but must be at most width, which is " + std::to_string(width) +
                    "; 0 means full matrices");
}

template <class Scalar>
void CrossNetwork::initialize(Scalar* parameters, RandomStream& random) const {
  for (Index l = 0; l < depth; ++l) {
    Parts<Scalar> parts(*this, parameters, l);
    glorot(parts.w, random);
    glorot(parts.u, random);
    glorot(parts.v, random);
    parts.b.setZero();
  }
}

template <class Scalar>
void CrossNetwork::forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass&) const {
  using In = ConstRowMap<Scalar>;
  const Slices<Scalar> slices{*this, cache};
  for (Index l = 0; l < depth; ++l) {
    const Parts<const Scalar> parts(*this, parameters, l);
    const In in = l == 0 ? slice<In>(x, 0, width) : slices.template x<In>(l);
    RowMap<Scalar> out = l + 1 == depth ? slice<RowMap<Scalar>>(y, 0, width) : slices.x(l + 1);
    RowMap<Scalar> product = slices.product(l), thin = slices.thin(l);
    product.rowwise() = parts.b;  // as in Dense: a product adds to its target anyway
    if (rank == 0) {
      product.noalias() += in * parts.w;
    } else {
      thin.noalias() = in * parts.u;
      product.noalias() += thin * parts.v;
    }
    out = x.cwiseProduct(product) + in;
  }
}

// With p = x_l W + b and x_{l+1} = x_0 p + x_l, a gradient g of x_{l+1} gives  dp = g x_0  and x_0 the part  g p; x_l gets
// g + dp W^T. dx holds g on its way down; dp takes the place of p, and with a rank dp v^T that of x_l u.
template <class Scalar>
void CrossNetwork::backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy,
                            Rows<Scalar> dx, Scalar* dparameters, const Pass&) const {
  using In = ConstRowMap<Scalar>;
  const Slices<Scalar> slices{*this, cache};
  RowMap<Scalar> past = slices.x(0);
  past.setZero();
  dx = dy;
  for (Index l = depth; l-- > 0;) {
    const Parts<const Scalar> parts(*this, parameters, l);
    Parts<Scalar> dparts(*this, dparameters, l);
    const In in = l == 0 ? slice<In>(x, 0, width) : slices.template x<In>(l);
    RowMap<Scalar> product = slices.product(l), thin = slices.thin(l);
    past += dx.cwiseProduct(product);
    product = dx.cwiseProduct(x);
    for (Index row = 0; row < x.rows(); ++row) dparts.b += product.row(row);  // colwise().sum() would walk down columns
    if (rank == 0) {
      dparts.w.noalias() += in.transpose() * product;
      dx.noalias() += product * parts.w.transpose();
    } else {
      dparts.v.noalias() += thin.transpose() * product;
      thin.noalias() = product * parts.v.transpose();
      dparts.u.noalias() += in.transpose() * thin;
      dx.noalias() += thin * parts.u.transpose();
    }
  }
  dx += past;
}

// float trains, double checks gradients.
template void CrossNetwork::initialize<float>(float*, RandomStream&) const;
template void CrossNetwork::initialize<double>(double*, RandomStream&) const;
template void CrossNetwork::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void CrossNetwork::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>, const Pass&) const;
template void CrossNetwork::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>, float*,
                                            const Pass&) const;
template void CrossNetwork::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>, Rows<double>,
                                             double*, const Pass&) const;

}  // namespace twotower::nn
