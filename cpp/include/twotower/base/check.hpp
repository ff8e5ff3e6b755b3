#pragma once
// The only place that throws. Every sentence names the function, the value, the requirement and, where there is one, the cure.
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "twotower/base/types.hpp"

namespace twotower {

/// A loss or a gradient that is not a number any more.
class NumericalError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A number as sentences show it, with six digits: "0.01", "1e-08", "inf", "nan" (never "-nan").
std::string shown(double value);

/// Throws std::invalid_argument: "function: message".
[[noreturn]] void fail(std::string_view function, const std::string& message);

/// Throws NumericalError: "function: message".
[[noreturn]] void fail_numerically(std::string_view function, const std::string& message);

/// "top_k: k is 0, but must be at least 1"
void check_at_least(std::string_view function, std::string_view name, Index value, Index minimum);

/// "Adam: learning_rate is -1, but must be a finite number above 0"
void check_positive(std::string_view function, std::string_view name, double value);

/// "Schedule: final_share is 2, but must be in [0, 1]"
void check_in_range(std::string_view function, std::string_view name, double value, double low, double high);

/// "top_k: queries width is 3, but must equal items width, which is 4"
void check_size(std::string_view function, std::string_view name, Index got, std::string_view other, Index wanted);

/// "Interactions: weights[7] is nan, but must be a finite number"
void check_finite(std::string_view function, std::string_view name, std::span<const float> values);

/// "FeatureTable: values[7] is inf, but must be a finite number or nan, which means missing"
void check_not_infinite(std::string_view function, std::string_view name, std::span<const float> values);

/// "Interactions: weights[7] is -1, but must not be negative"
void check_not_negative(std::string_view function, std::string_view name, std::span<const float> values);

/// "top_k: item_rows[17] is 90, but must be in [0, 80)"; throws std::out_of_range.
void check_rows(std::string_view function, std::string_view name, std::span<const Row> rows, Index bound);

/// "Bag: offsets[3] is 2, but must not be below offsets[2], which is 5"; first 0, last `last`.
void check_offsets(std::string_view function, std::string_view name, std::span<const std::int64_t> offsets, Index last);

}  // namespace twotower
