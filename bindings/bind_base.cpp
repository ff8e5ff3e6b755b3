#include <Eigen/Core>

#include <exception>

#include "bindings.hpp"
#include "numpy.hpp"
#include "twotower/base/check.hpp"
#include "twotower/base/cpu.hpp"
#include "twotower/base/parallel.hpp"

namespace twotower::bindings {

void bind_base(py::module_& m) {
  // The order of Eigen's sums follows its block sizes, which it takes from the caches it finds: pin them, so that one module
  // gives the same bytes on every CPU that runs it.
  Eigen::setCpuCacheSizes(32 * 1024, 1024 * 1024, 16 * 1024 * 1024);

  // Of this module alone: other packages may be made with pybind11 too, and their errors are not ours.
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const NumericalError& error) {
      py::set_error(py::module_::import("twotower.errors").attr("NumericalError"), error.what());
    } catch (const std::bad_alloc&) {
      throw;  // MemoryError, as pybind11 has it
    } catch (const std::logic_error&) {
      throw;  // ValueError and IndexError, as pybind11 has them
    } catch (const py::builtin_exception&) {
      throw;
    } catch (const std::exception& error) {
      py::set_error(PyExc_RuntimeError, (std::string("a defect in twotower, please report it: ") + error.what()).c_str());
    }
  });

  m.attr("isa") = "v" + std::to_string(compiled_level());
  m.attr("assertions") =
#ifdef NDEBUG
      false;
#else
      true;
#endif
  m.def("available_threads", &available_threads, "CPUs this process may use, by affinity and cgroup.");
}

}  // namespace twotower::bindings
