// durable_env.h - a leveldb::Env that makes names as durable as LevelDB's synced bytes.
//
// LevelDB syncs the directory only with its manifest: the log that follows a rotation could hold
// acknowledged batches under a name that a power cut forgets.  This wrapper syncs the directory after
// each create and rename.  A file that failed once takes nothing more: when a record of the manifest is torn,
// LevelDB may write the next one behind it (a merge of tables that was under way ends), and such a manifest
// cannot be opened again; torn at its end it can.  It also reads tables with pread and not through LevelDB's
// memory maps: a bad sector is then an error and no SIGBUS, and the process's memory does not grow with the
// store.  LevelDB's own thread (it writes out full memory and merges tables) gets less of a
// busy CPU than those who answer, and its tables go to the system in large pieces.  C++ only.
#pragma once
#include <string>

#include <leveldb/env.h>

namespace greenroom {

// What an Env below has when it is not the system's: the fault-injecting one.
class DirectorySyncer {
  public:
    virtual ~DirectorySyncer() = default;
    virtual leveldb::Status SyncDirectory(const std::string &dir) = 0;
};

class DurableEnv : public leveldb::EnvWrapper {
  public:
    explicit DurableEnv(leveldb::Env *below);             // `below` is not owned
    leveldb::Status NewRandomAccessFile(const std::string &name, leveldb::RandomAccessFile **out) override;
    leveldb::Status NewWritableFile(const std::string &name, leveldb::WritableFile **out) override;
    leveldb::Status NewAppendableFile(const std::string &name, leveldb::WritableFile **out) override;
    void Schedule(void (*run)(void *), void *arg) override;
    leveldb::Status RenameFile(const std::string &from, const std::string &to) override;

  private:
    leveldb::Status SyncDirectoryOf(const std::string &name);
    leveldb::Status Opened(leveldb::Status, const std::string &name, leveldb::WritableFile **out);
    DirectorySyncer *syncer_;                             // null: the system's own directories
};

}  // namespace greenroom
