#pragma once
// The only converter between NumPy and the core: views in, owned arrays out. pybind11 would copy what does not fit without a
// word; here a wrong dtype, number of dimensions or layout is a TypeError that names the argument.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>
#include <string>
#include <vector>

#include "twotower/base/types.hpp"

namespace twotower::bindings {

namespace py = pybind11;

template <class T>
std::string array_name(int dimensions) {
  return "a C-contiguous " + std::string(py::str(py::dtype::of<T>())) + " array of " + std::to_string(dimensions) + " dimension" +
         (dimensions == 1 ? "" : "s");
}

/// Rows side by side in memory, every value where its type may lie.
inline bool is_plain(const py::array& array) {
  return (array.flags() & py::array::c_style) != 0 && (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
}

inline std::string describe(py::handle object) {
  if (!py::isinstance<py::array>(object)) return "a " + std::string(py::str(py::type::of(object).attr("__name__")));
  const auto array = py::reinterpret_borrow<py::array>(object);
  const char* layout = is_plain(array)                             ? "a C-contiguous "
                       : (array.flags() & py::array::c_style) != 0 ? "an unaligned "
                                                                   : "a strided ";
  return layout + std::string(py::str(array.dtype())) + " array of shape " + std::string(py::str(object.attr("shape")));
}

/// "top_k: queries is a strided float64 array of shape (3, 4), but must be a C-contiguous float32 array of 2 dimensions"
template <class T>
py::array checked_array(py::handle object, int dimensions, const char* function, const char* name) {
  if (py::isinstance<py::array>(object)) {
    const auto array = py::reinterpret_borrow<py::array>(object);
    if (array.dtype().equal(py::dtype::of<T>()) && array.ndim() == dimensions && is_plain(array)) return array;
  }
  throw py::type_error(std::string(function) + ": " + name + " is " + describe(object) + ", but must be " +
                       array_name<T>(dimensions));
}

/// A view of a one-dimensional array; the caller keeps the array alive.
template <class T>
std::span<const T> vector_of(py::handle object, const char* function, const char* name) {
  const py::array array = checked_array<T>(object, 1, function, name);
  return {static_cast<const T*>(array.data()), static_cast<std::size_t>(array.size())};
}

/// The same, or nothing for None.
template <class T>
std::optional<std::span<const T>> optional_vector_of(py::handle object, const char* function, const char* name) {
  if (object.is_none()) return std::nullopt;
  return vector_of<T>(object, function, name);
}

/// A view of a two-dimensional array; the caller keeps the array alive.
template <class T>
ConstRowMap<T> matrix_of(py::handle object, const char* function, const char* name) {
  const py::array array = checked_array<T>(object, 2, function, name);
  return {static_cast<const T*>(array.data()), array.shape(0), array.shape(1), Eigen::OuterStride<>(array.shape(1))};
}

template <class T>
py::array_t<T> new_vector(Index size) {
  return py::array_t<T>(size);
}

template <class T>
py::array_t<T> new_matrix(Index rows, Index columns) {
  return py::array_t<T>({rows, columns});
}

/// A new array with the values of `values`.
template <class T>
py::array_t<T> copy_of(std::span<const T> values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

template <class T>
std::span<T> span_of(py::array_t<T>& array) {
  return {array.mutable_data(), static_cast<std::size_t>(array.size())};
}

template <class T>
RowMap<T> rows_of(py::array_t<T>& array) {
  return {array.mutable_data(), array.shape(0), array.shape(1), Eigen::OuterStride<>(array.shape(1))};
}

}  // namespace twotower::bindings
