#include "server.hpp"

#include <cstdio>

namespace orthanc_async::sdk {

namespace {

thread_local int callback_depth = 0;
thread_local int call_depth = 0;

} // namespace

Server& Server::get() {
    static auto* const server = new Server; // NOLINT(cppcoreguidelines-owning-memory)
    return *server;
}

void Server::open(OrthancPluginContext* context) {
    context_ = context;
    started_ = false;
    closed_ = false;
}

bool Server::wait_idle(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock<std::mutex> lock(mutex_);
    return left_.wait_until(lock, deadline, [&] { return inside_ == 0; });
}

void Server::forget() {
    closed_ = true;
    context_ = nullptr;
}

OrthancPluginContext* Server::enter() noexcept {
    ++inside_;
    ++call_depth;
    OrthancPluginContext* const context = context_;
    if (context == nullptr || forked_ || (closed_ && !InsideCallback::current())) {
        leave();
        return nullptr;
    }
    return context;
}

void Server::leave() noexcept {
    --call_depth;
    if (--inside_ == 0 && closed_) {
        const std::lock_guard<std::mutex> lock(mutex_);
        left_.notify_all();
    }
}

bool Server::calling_here() noexcept {
    return call_depth > 0;
}

void Server::log_error(const char* text) noexcept {
    OrthancPluginContext* const context = context_;
    if (context != nullptr && !forked_) {
        OrthancPluginLogError(context, text);
    } else {
        std::fprintf(stderr, "%s\n", text);
    }
}

void Server::log_warning(const char* text) noexcept {
    OrthancPluginContext* const context = context_;
    if (context != nullptr && !forked_) {
        OrthancPluginLogWarning(context, text);
    } else {
        std::fprintf(stderr, "%s\n", text);
    }
}

InsideCallback::InsideCallback() noexcept {
    ++callback_depth;
}

InsideCallback::~InsideCallback() {
    --callback_depth;
}

bool InsideCallback::current() noexcept {
    return callback_depth > 0;
}

} // namespace orthanc_async::sdk
