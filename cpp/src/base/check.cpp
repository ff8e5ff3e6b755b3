#include "twotower/base/check.hpp"

#include <cmath>
#include <sstream>

namespace twotower {
namespace {

std::string entry(std::string_view name, Index position) { return std::string(name) + "[" + std::to_string(position) + "]"; }

}  // namespace

std::string shown(double value) {
  if (std::isnan(value)) return "nan";  // the sign of a nan depends on the instruction that made it
  std::ostringstream out;
  out << value;
  return out.str();
}

void fail(std::string_view function, const std::string& message) {
  throw std::invalid_argument(std::string(function) + ": " + message);
}

void fail_numerically(std::string_view function, const std::string& message) {
  throw NumericalError(std::string(function) + ": " + message);
}

void check_at_least(std::string_view function, std::string_view name, Index value, Index minimum) {
  if (value < minimum) [[unlikely]]
    fail(function, std::string(name) + " is " + std::to_string(value) + ", but must be at least " + std::to_string(minimum));
}

void check_positive(std::string_view function, std::string_view name, double value) {
  if (!(value > 0) || !std::isfinite(value)) [[unlikely]]
    fail(function, std::string(name) + " is " + shown(value) + ", but must be a finite number above 0");
}

void check_in_range(std::string_view function, std::string_view name, double value, double low, double high) {
  if (!(value >= low && value <= high)) [[unlikely]]
    fail(function, std::string(name) + " is " + shown(value) + ", but must be in [" + shown(low) + ", " + shown(high) + "]");
}

void check_size(std::string_view function, std::string_view name, Index got, std::string_view other, Index wanted) {
  if (got != wanted) [[unlikely]]
    fail(function, std::string(name) + " is " + std::to_string(got) + ", but must equal " + std::string(other) + ", which is " +
                       std::to_string(wanted));
}

void check_finite(std::string_view function, std::string_view name, std::span<const float> values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i])) [[unlikely]]
      fail(function, entry(name, static_cast<Index>(i)) + " is " + shown(values[i]) + ", but must be a finite number");
}

void check_not_infinite(std::string_view function, std::string_view name, std::span<const float> values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (std::isinf(values[i])) [[unlikely]]
      fail(function, entry(name, static_cast<Index>(i)) + " is " + shown(values[i]) +
                         ", but must be a finite number or nan, which means missing");
}

void check_not_negative(std::string_view function, std::string_view name, std::span<const float> values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] < 0) [[unlikely]]
      fail(function, entry(name, static_cast<Index>(i)) + " is " + shown(values[i]) + ", but must not be negative");
}

void check_rows(std::string_view function, std::string_view name, std::span<const Row> rows, Index bound) {
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i] < 0 || rows[i] >= bound) [[unlikely]]
      throw std::out_of_range(std::string(function) + ": " + entry(name, static_cast<Index>(i)) + " is " +
                              std::to_string(rows[i]) + ", but must be in [0, " + std::to_string(bound) + ")");
}

void check_offsets(std::string_view function, std::string_view name, std::span<const std::int64_t> offsets, Index last) {
  if (offsets.empty() || offsets.front() != 0 || offsets.back() != last) [[unlikely]]
    fail(function, std::string(name) + " runs from " + (offsets.empty() ? "nothing" : std::to_string(offsets.front())) + " to " +
                       (offsets.empty() ? "nothing" : std::to_string(offsets.back())) + ", but must run from 0 to " +
                       std::to_string(last));
  for (std::size_t i = 1; i < offsets.size(); ++i)
    if (offsets[i] < offsets[i - 1]) [[unlikely]]
      fail(function, entry(name, static_cast<Index>(i)) + " is " + std::to_string(offsets[i]) + ", but must not be below " +
                         entry(name, static_cast<Index>(i) - 1) + ", which is " + std::to_string(offsets[i - 1]));
}

}  // namespace twotower
