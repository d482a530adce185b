#include "images.hpp"

#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../runtime/gil.hpp"
#include "../sdk/function_here.hpp"
#include "../sdk/image_memory.hpp"
#include "../sdk/invoke.hpp"
#include "../sdk/results.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "content.hpp"
#include "core_locks.hpp"
#include "question.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

// Orthanc needs images also while it starts and ends its own work.
constexpr When whenever{false, true};

constexpr auto declined = OrthancPluginErrorCode_NotImplemented; // Orthanc's own code goes on

// The file that Orthanc lends for one call: copied once, whoever asks for it.
class File {
public:
    File(const void* data, std::uint64_t size) : data_(data), size_(size) {}

    // Makes the copy of a large file on the thread that waits, so that the loop goes on.
    // Thread: Orthanc's. GIL: not held; taken for a moment.
    void prepare() {
        if (size_ >= sdk::large_copy && !bytes_) {
            const runtime::WithGil with;
            try {
                bytes();
            } catch (py::error_already_set& error) {
                error.restore();
                PyErr_Clear(); // no memory: said when a handler asks again
            }
        }
    }

    // Thread: any, while Orthanc's caller waits. GIL: held, given up while it copies a large
    // one. Throws.
    py::object bytes() {
        if (!bytes_) {
            bytes_ = runtime::keep(sdk::copy_bytes(data_, size_));
        }
        return runtime::object_of(bytes_);
    }

    std::uint64_t size() const { return size_; }

private:
    const void* const data_;
    const std::uint64_t size_;
    runtime::Kept bytes_;
};

// Thread: the one that called the function.
bool context_is_held() {
    const bool by_function = sdk::FunctionHere::is("DecodeDicomImage") ||
                             sdk::FunctionHere::is("TranscodeDicomInstance") ||
                             sdk::FunctionHere::is("DicomInstance.GetInstanceDecodedFrame");
    if (!by_function) {
        return false;
    }
    const sdk::WorkerScope scope;
    return scope.context() != nullptr && calls_hold_context(scope.context());
}

class ImageQuestion : public Question {
public:
    explicit ImageQuestion(std::shared_ptr<File> file)
        : file_(std::move(file)), context_is_held_(context_is_held()) {}

    bool would_hang(const std::string& call) const override {
        // A registration waits until no image is being decoded.
        return begins_with(call, "RegisterDecodeImageCallback(") ||
               begins_with(call, "RegisterTranscoderCallback(") ||
               (context_is_held_ && needs_context(call));
    }

protected:
    File& file() const { return *file_; }

private:
    const std::shared_ptr<File> file_;
    const bool context_is_held_;
};

// Thread: any. GIL: any, as freeing memory takes no lock.
struct FreeImage {
    void operator()(OrthancPluginImage* image) const {
        const sdk::WorkerScope scope;
        if (scope.context() != nullptr) {
            OrthancPluginFreeImage(scope.context(), image);
        }
    }
};

class DecodeQuestion final : public ImageQuestion {
public:
    DecodeQuestion(std::shared_ptr<File> file, std::uint32_t frame)
        : ImageQuestion(std::move(file)), frame_(frame) {}

    py::tuple arguments() override { return py::make_tuple(file().bytes(), frame_); }
    void take(const py::object& result) override {
        if (!result.is_none()) {
            image_.reset(sdk::give_image(result, "an image decoder"));
        }
    }
    std::string describe() const override {
        return "frame " + std::to_string(frame_) + " of a file of " +
               std::to_string(file().size()) + " bytes";
    }

    // Null when the handler has declined. The caller owns it.
    OrthancPluginImage* release() { return image_.release(); }

private:
    const std::uint32_t frame_;
    std::unique_ptr<OrthancPluginImage, FreeImage> image_;
};

class TranscodeQuestion final : public ImageQuestion {
public:
    TranscodeQuestion(std::shared_ptr<File> file, const char* const* syntaxes,
                      std::uint32_t syntaxes_count, bool new_uid)
        : ImageQuestion(std::move(file)), syntaxes_(syntaxes, syntaxes + syntaxes_count),
          new_uid_(new_uid) {}

    py::tuple arguments() override {
        py::tuple syntaxes(syntaxes_.size());
        for (std::size_t i = 0; i < syntaxes_.size(); ++i) {
            syntaxes[i] = sdk::to_text(syntaxes_[i].c_str());
        }
        return py::make_tuple(file().bytes(), syntaxes, new_uid_);
    }
    void take(const py::object& result) override {
        if (result.is_none()) {
            return;
        }
        transcoded_.take(result, "a transcoder");
        if (transcoded_.size() == 0 ||
            transcoded_.size() > std::numeric_limits<std::uint32_t>::max()) {
            throw py::value_error("a transcoder returns a DICOM file of 1 to 4294967295 bytes, or "
                                  "None when it does not transcode this one, but not " +
                                  std::to_string(transcoded_.size()) + " bytes");
        }
        answered_ = true;
    }
    std::string describe() const override {
        return "transcoding of a file of " + std::to_string(file().size()) + " bytes";
    }

    bool answered() const { return answered_; }
    // Thread: Orthanc's. GIL: not held.
    OrthancPluginErrorCode write(OrthancPluginMemoryBuffer* target) const {
        const sdk::WorkerScope scope;
        if (scope.context() == nullptr) {
            return declined;
        }
        const auto size = static_cast<std::uint32_t>(transcoded_.size());
        const OrthancPluginErrorCode code =
            OrthancPluginCreateMemoryBuffer(scope.context(), target, size);
        if (code == OrthancPluginErrorCode_Success) {
            std::memcpy(target->data, transcoded_.data(), size);
        }
        return code;
    }

private:
    const std::vector<std::string> syntaxes_;
    const bool new_uid_;
    Content transcoded_;
    bool answered_ = false;
};

// Asks one handler after the other until one takes the image. One that fails is in the log, and
// like one that declines it leaves the image to the next and at last to Orthanc.
template <class Ask>
OrthancPluginErrorCode ask_in_turn(Family family, File& file, const Ask& ask_one) noexcept {
    return in_callback(declined, [&] {
        const auto registry = Registry::current();
        if (!registry || !may_ask(whenever)) {
            return declined;
        }
        for (const Handler* handler : handlers_of(registry, family)) {
            if (handler->is_async) {
                file.prepare();
            }
            const OrthancPluginErrorCode code = ask_one(registry, *handler);
            if (code != declined) {
                return code;
            }
        }
        return declined;
    });
}

OrthancPluginErrorCode on_decode(OrthancPluginImage** target, const void* dicom,
                                 const std::uint32_t size, std::uint32_t frame) noexcept {
    const auto file = std::make_shared<File>(dicom, size);
    return ask_in_turn(Family::DecodeImage, *file,
                       [&](const std::shared_ptr<Registry>& registry, const Handler& handler) {
                           const auto question = std::make_shared<DecodeQuestion>(file, frame);
                           if (ask(registry, handler, question) != Outcome::Answered) {
                               return declined;
                           }
                           *target = question->release();
                           return *target == nullptr ? declined : OrthancPluginErrorCode_Success;
                       });
}

OrthancPluginErrorCode on_transcode(OrthancPluginMemoryBuffer* transcoded, const void* buffer,
                                    std::uint64_t size, const char* const* syntaxes,
                                    std::uint32_t syntaxes_count, std::uint8_t new_uid) noexcept {
    const auto file = std::make_shared<File>(buffer, size);
    return ask_in_turn(
        Family::Transcode, *file,
        [&](const std::shared_ptr<Registry>& registry, const Handler& handler) {
            const auto question =
                std::make_shared<TranscodeQuestion>(file, syntaxes, syntaxes_count, new_uid != 0);
            if (ask(registry, handler, question) != Outcome::Answered || !question->answered()) {
                return declined;
            }
            return question->write(transcoded);
        });
}

} // namespace

void add_images(py::module_& module) {
    Registration decoder{"RegisterDecodeImageCallback", "image decoder", Family::DecodeImage};
    decoder.hook = [](OrthancPluginContext* context) {
        OrthancPluginRegisterDecodeImageCallback(context, on_decode);
    };
    define(module, decoder);
    Registration transcoder{"RegisterTranscoderCallback", "transcoder", Family::Transcode};
    transcoder.hook = [](OrthancPluginContext* context) {
        OrthancPluginRegisterTranscoderCallback(context, on_transcode);
    };
    define(module, transcoder);
}

} // namespace orthanc_async::callbacks
