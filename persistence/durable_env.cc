// durable_env.cc - see durable_env.h.
#include "persistence/durable_env.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace greenroom {

using leveldb::Status;

DurableEnv::DurableEnv(leveldb::Env *below) : EnvWrapper(below),
    syncer_(dynamic_cast<DirectorySyncer *>(below)) {}

namespace {

class PreadFile : public leveldb::RandomAccessFile {
  public:
    PreadFile(std::string name, int fd) : name_(std::move(name)), fd_(fd) {}
    ~PreadFile() override { close(fd_); }
    Status Read(uint64_t offset, size_t n, leveldb::Slice *result, char *scratch) const override
    {
        size_t got = 0;
        while (got < n) {
            ssize_t part = pread(fd_, scratch + got, n - got, static_cast<off_t>(offset + got));
            if (part == 0) break;
            if (part > 0) got += static_cast<size_t>(part);
            else if (errno != EINTR) return Status::IOError(name_, strerror(errno));
        }
        *result = leveldb::Slice(scratch, got);
        return Status::OK();
    }

  private:
    std::string name_;
    int fd_;
};

}  // namespace

Status DurableEnv::NewRandomAccessFile(const std::string &name, leveldb::RandomAccessFile **out)
{
    if (syncer_) return target()->NewRandomAccessFile(name, out);
    *out = nullptr;
    int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return Status::NotFound(name, strerror(errno));
    if (fd < 0) return Status::IOError(name, strerror(errno));
    *out = new PreadFile(name, fd);
    return Status::OK();
}

static Status SyncSystemDirectory(const std::string &dir)
{
    int fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return Status::IOError(dir, strerror(errno));
    Status status = fsync(fd) == 0 ? Status::OK() : Status::IOError(dir, strerror(errno));
    close(fd);
    return status;
}

Status DurableEnv::SyncDirectoryOf(const std::string &name)
{
    size_t slash = name.rfind('/');
    std::string dir = slash == std::string::npos ? "." : name.substr(0, slash);
    return syncer_ ? syncer_->SyncDirectory(dir) : SyncSystemDirectory(dir);
}

Status DurableEnv::NewWritableFile(const std::string &name, leveldb::WritableFile **out)
{
    Status status = target()->NewWritableFile(name, out);
    if (status.ok()) status = SyncDirectoryOf(name);
    if (status.ok()) return status;
    delete *out;
    *out = nullptr;
    return status;
}

Status DurableEnv::NewAppendableFile(const std::string &name, leveldb::WritableFile **out)
{
    Status status = target()->NewAppendableFile(name, out);
    if (status.ok()) status = SyncDirectoryOf(name);
    if (status.ok()) return status;
    delete *out;
    *out = nullptr;
    return status;
}

Status DurableEnv::RenameFile(const std::string &from, const std::string &to)
{
    Status status = target()->RenameFile(from, to);
    return status.ok() ? SyncDirectoryOf(to) : status;
}

}  // namespace greenroom
